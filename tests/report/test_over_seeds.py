"""C1, C2 and training of the main arm, seed beside seed."""

from __future__ import annotations

import csv
import json
from math import log
from pathlib import Path

import pytest

from reasoning_pipeline.plan.graph import Plan
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.report import write_part_tables, write_report
from reasoning_pipeline.report.arms.over_seeds import over_seeds
from tests.bench import Bench
from tests.report.tiny_registry import RECIPE

GATES = """
gates:
  c1: {problems: second, min_gain: 0.0}
  c2: {prompts: first, max_reverse_kl: 0.1}
outcome: polish
arms:
  no_warmup: {drop: warmup}
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    bench = Bench(tmp_path)
    plan = make_plan(load_recipe(bench.write(RECIPE + GATES)), bench.root, (0, 1))
    for seed, suffix in enumerate(("", "@1")):
        gain = {"gain": 0.5 + 0.1 * seed, "gain_interval": [0.4, 0.7], "problems": 9}
        bench.publish(plan, f"teacher_rl.c1{suffix}", files={"x": ""}, result=gain)
        for student, kl in (("student_base", 0.2), ("warmup", 0.04), ("distill", 0.01)):
            result = {"reverse_kl": kl * (1 + seed), "reverse_kl_interval": [0, 1], "forward_kl": 0.02}
            result |= {"top_k_overlap": 0.8, "top_k": 8}
            bench.publish(plan, f"{student}.c2{suffix}", files={"x": ""}, result=result)
        rows = [{"step": i, "kl": (1.0 + seed) / i, "completion_tokens": 9 + seed} for i in range(1, 5)]
        metrics = {"metrics.jsonl": "".join(json.dumps(row) + "\n" for row in rows)}
        bench.publish(plan, f"distill{suffix}", f"warmup{suffix}", f"no_warmup.distill{suffix}", files=metrics)
    return plan.refreshed()


def test_conditions_stand_in_the_order_of_the_pipeline_with_every_seed(plan: Plan):
    found = over_seeds(plan)
    assert found is not None and found.seeds == (0, 1)
    ((_, (gains, reverse, _, overlap)),) = found.strips
    (gain,) = gains.strips
    assert (gain.figure, gain.spread, len(gain.each)) == ("+55.0", "+50.0 to +60.0", 2)
    assert [(s.who, s.note, s.figure, s.spread) for s in reverse.strips] == [
        ("before the bridge", "student_base", "0.3", "0.2 to 0.4"),
        ("after Stage 2a", "warmup", "0.06", "0.04 to 0.08"),
        ("after Stage 2b", "distill", "0.015", "0.01 to 0.02"),
    ]
    before, after, last = (strip.at for strip in reverse.strips)
    # 0.3 to 0.06 is a factor of 5, 0.06 to 0.015 one of 4: as far apart as their logarithms
    assert (before - after) / (after - last) == pytest.approx(log(5) / log(4), rel=0.01)
    assert [strip.at for strip in overlap.strips] == [80, 80, 80]


def test_conditions_as_a_csv(plan: Plan, tmp_path: Path):
    (path,) = write_part_tables(plan, tmp_path / "report.html")
    assert path.name == "report_conditions.csv"
    text = path.read_text(encoding="utf-8")
    rows = {(row["figure"], row["step"]): row for row in csv.DictReader(text.splitlines())}
    assert len(rows) == 1 + 3 * 3
    assert rows["gain", "teacher_rl"]["by_seed"] == "0.5 0.6"
    warmup = rows["reverse_kl", "warmup"]
    assert warmup["where"] == "after Stage 2a"
    assert [float(warmup[name]) for name in ("mean", "least", "largest", "seeds")] == pytest.approx(
        [0.06, 0.04, 0.08, 2]
    )


def test_a_plot_has_a_thin_line_a_seed_and_their_mean(plan: Plan):
    """Of the main arm's seeds: no_warmup's distillation, which has rows too, is not among them."""
    found = over_seeds(plan)
    assert found is not None
    titles = [drawing.title for _, drawing in found.training]
    assert titles == [
        "warmup: KL(teacher ‖ student), nats per token",
        "distill: KL(student ‖ teacher), nats per token",
        "distill: completion length, tokens",
    ]
    kl = found.training[1][1]
    assert [layer.kind for layer in kl.layers] == ["each", "each", "mean"]
    assert kl.spoken.endswith("mean of 2 seeds: 1.5 at step 1, 0.375 at step 4")  # (1 + 2) / 2, (1/4 + 2/4) / 2


def test_the_page_shows_them_and_the_conditions_of_one_seed(plan: Plan, tmp_path: Path):
    html = write_report(plan, tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="over-seeds"' in html and "0.2 to 0.4" in html
    gates = html[html.index('id="gates"') : html.index('id="curves"')]
    assert "student_base" in gates and "@1" not in gates


def test_nothing_measured_is_no_section(tmp_path: Path):
    bench = Bench(tmp_path)
    assert over_seeds(make_plan(load_recipe(bench.write(RECIPE)), bench.root, (0, 1))) is None
