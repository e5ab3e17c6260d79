"""The page's section on C1 and C2: figures as recorded, the threshold as the recipe asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasoning_pipeline.plan.graph import Plan
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.report import write_report
from reasoning_pipeline.workflows.reasoning.gates.page import gate_section
from tests.bench import Bench
from tests.report.tiny_registry import RECIPE

GATES = """
gates:
  c1: {problems: second, min_gain: 0.6}
  c2: {prompts: first, max_reverse_kl: 0.1}
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    bench = Bench(tmp_path)
    plan = make_plan(load_recipe(bench.write(RECIPE + GATES)), bench.root)
    gain = {"gain": 0.54, "gain_interval": [0.49, 0.59], "problems": 200, "accuracy_start": 0.341, "accuracy": 0.881}
    bench.publish(plan, "teacher_rl.c1", files={"x": ""}, result=gain)
    for student, kl in (("student_base", 0.234), ("warmup", 0.025), ("distill", 0.004)):
        result = {"reverse_kl": kl, "reverse_kl_interval": [kl / 2, 2 * kl], "forward_kl": 0.02,
                  "top_k_overlap": 0.83, "top_k": 16}  # fmt: skip
        bench.publish(plan, f"{student}.c2", files={"x": ""}, result=result)
    return plan.refreshed()


def test_measurements_stand_in_the_order_of_the_pipeline_with_their_verdicts(plan: Plan) -> None:
    section = gate_section(plan)
    assert section is not None
    assert [(row.student, row.reverse, row.verdict) for row in section.distances] == [
        ("student_base", "0.234 [0.117, 0.468]", "not asked here"),
        ("warmup", "0.025 [0.0125, 0.05]", "holds"),
        ("distill", "0.004 [0.002, 0.008]", "not asked here"),
    ]
    (gain,) = section.gains
    assert (gain.gain, gain.accuracy, gain.verdict) == ("+54.0 [+49.0, +59.0]", "34.1 → 88.1", "does not hold")
    first, warmup, _ = section.distances
    assert section.asked is not None and warmup.at < section.asked < first.at <= 100


def test_the_page_has_the_section_only_where_something_was_measured(plan: Plan, tmp_path: Path) -> None:
    text = write_report(plan, tmp_path / "report.html").read_text()
    assert 'id="gates"' in text and "0.025 [0.0125, 0.05]" in text and "≤&nbsp;0.1" in text
    bench = Bench(tmp_path / "other")
    plain = make_plan(load_recipe(bench.write(RECIPE)), bench.root)
    assert 'id="gates"' not in write_report(plain, tmp_path / "plain.html").read_text()
