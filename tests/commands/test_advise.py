"""`advise`: the cost before anything runs, the recipe's predictors beside the map, and no forecast."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reasoning_pipeline.__main__ import main
from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.workflows.reasoning.probe import ASKED, DISTANCE, probed
from tests.workflows.reasoning.map_rows import write_map

RECIPE = "recipes/smoke/extra_rl.yaml"


def test_the_probe_trains_nothing_but_base_models(tmp_path: Path):
    plan = make_plan(probed(load_recipe(RECIPE)), tmp_path)
    assert [step.name for step in plan.steps] == ["teacher_base", "student_base", ASKED, DISTANCE]
    asked, distance = plan.step(ASKED), plan.step(DISTANCE)
    assert {entry.field: entry.step for entry in asked.inputs} == {"policy": "teacher_base", "start": "student_base"}
    assert {entry.field: entry.step for entry in distance.inputs} == {
        "policy": "student_base",
        "teacher": "teacher_base",
    }
    # base models are the recipe's own, to the fingerprint: a run of the recipe need not make them again
    whole = make_plan(load_recipe(RECIPE), tmp_path)
    for name in ("teacher_base", "student_base"):
        assert plan.step(name).fingerprint == whole.step(name).fingerprint
    assert not any(step.spends for step in plan.steps)


def test_problems_of_a_benchmark_are_no_problems_of_the_probe(tmp_path: Path):
    # what `evaluate` scores is left out of pools; the probe scores nothing, and asks the same pool all the same
    recipe = load_recipe("recipes/arithmetic.yaml")
    plan, whole = make_plan(probed(recipe), tmp_path), make_plan(recipe, tmp_path)
    assert [p.id for p in plan.ledger.pool("first")] == [p.id for p in whole.ledger.pool("first")]
    assert not any(step.config.stage == "evaluate" for step in plan.steps)


def test_a_recipe_without_a_bridge_is_refused():
    with pytest.raises(RecipeError, match="no step distils a teacher into a student"):
        probed(load_recipe("recipes/smoke/pretrain.yaml"))


def test_the_cost_is_printed_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["advise", RECIPE, "--root", str(tmp_path), "--hardware", "cpu_transformers", "--dry-run"]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert "first the recipe's own base models, which its run needs too: teacher_base, student_base" in told
    # 2 x 16 problems x 8 rollouts, and 16 more, each of a quarter of 24 tokens
    assert "the probe: 1,632 tokens written" in told and "no label is spent" in told
    assert not list((tmp_path / "registry").glob("*/record.json"))


@pytest.mark.slow
def test_advice_on_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    map_file = write_map(tmp_path / "map.csv", 5)
    arguments = ["advise", RECIPE, "--root", str(tmp_path / "runs"), "--hardware", "cpu_transformers"]
    assert main([*arguments, "--map", str(map_file)]) == 0
    told = capsys.readouterr().out
    assert "student's accuracy at the start" in told and "nearest of 5 cells" in told
    assert "the map has 5 cells so far: too few to say what decides" in told
    # twenty steps of pretraining leave a model that is never right: outside of a map whose students begin at 10 %
    assert "Your case is not on the map" in told
    assert main([*arguments, "--map", str(tmp_path / "none.csv"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["probe"]["problems"] == 16 and found["probe"]["samples"] == 8 and found["probe"]["labels"] == 32
    assert found["probe"]["teacher_size"] == 1.0 and found["probe"]["kl_start"] > 0 and found["cells"] == 0
