"""`run --arms --seeds` for real, without a server: what arms and seeds share is done once, every label recorded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.plan.sharing import savings
from reasoning_pipeline.recipe.reading import load_recipe
from tests.run.conftest import SMOKE, Run

RECIPE = f"""
extends: {SMOKE / "_world.yaml"}
name: arms
steps:
  teacher_base: null
  polish:
    stage: extra_rl
    policy: step:student_base
    spends: second
    problems_per_step: 2
    group_size: 2
    steps: 1
    max_prompt_tokens: 32
    max_completion_tokens: 8
arms:
  untrained: {{drop: polish}}
evaluate: {{suites: [arithmetic], samples: 1, limit: 4, max_tokens: 8, of: []}}
"""


@pytest.mark.slow
def test_two_arms_under_two_seeds_run_each_step_once(tmp_path: Path) -> None:
    path, root = tmp_path / "arms.yaml", tmp_path / "runs"
    path.write_text(RECIPE, encoding="utf-8")
    # student_base has a seed of its own: one for both seeds and both arms, and one evaluation of it; under each seed a
    # polish and its evaluation. Alone, each arm under each seed would make and score its own: 2 x (3 + 2).
    planned = make_plan(load_recipe(path), root, (0, 1))
    assert (len(planned.steps), savings(planned)[0].alone) == (2 + 2 * 2, 10)
    hardware = tmp_path / "one_at_a_time.yaml"
    hardware.write_text("engine: transformers\nwarm_start: true\n", encoding="utf-8")
    options = ("--hardware", hardware, "--root", root, "--arms", "--seeds", "0,1")
    status, output = Run("run", path, *options).finish()
    assert status == 0, output
    assert len(re.findall(r" done in ", output)) == len(planned.steps), output
    plan = planned.refreshed()
    assert all(step.complete for step in plan.steps)
    done = [line.split()[1] for line in output.splitlines() if " done in " in line]
    for name in (step.name for step in plan.steps if step.name.endswith(".evaluate")):
        assert done.index(name) == done.index(name.removesuffix(".evaluate")) + 1, done
    for name in ("polish@1", "polish@1.evaluate"):
        spent = [(entry.step, entry.pool, entry.labels) for entry in plan.step(name).artifact.record.label_spend]
        assert spent == [("polish@1", "second", 16)]
    page = (root / "arms" / "report.html").read_text(encoding="utf-8")
    assert "Arms compared" in page and "untrained" in page
    assert "untrained,arithmetic,student_base,0 1,4," in (root / "arms" / "report_arms.csv").read_text(encoding="utf-8")
    status, output = Run("run", path, *options).finish()
    assert (status, "everything is up to date" in output) == (0, True), output
