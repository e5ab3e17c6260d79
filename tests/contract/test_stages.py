"""What every stage owes its users. Runs over the files in stages/: a new stage is tested by being there."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml

from reasoning_pipeline.__main__ import main
from reasoning_pipeline.base.yaml_files import merged, read_with_parents, read_yaml
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.recipe.stage import StageConfig
from reasoning_pipeline.recipe.workflows import stage_kinds, stage_module
from reasoning_pipeline.run.metrics import read_metrics
from tests.run.conftest import SMOKE, Run

TRY_IT = "Try it: python -m reasoning_pipeline run recipes/smoke/{kind}.yaml"

KINDS = stage_kinds()
each_stage = pytest.mark.parametrize("kind", KINDS)


@each_stage
def test_the_docstring_explains_the_stage_and_how_to_try_it(kind: str) -> None:
    text = stage_module(kind).__doc__ or ""
    first, _, rest = text.partition("\n\n")
    assert len(first.split()) >= 8, "the first sentence says what the stage does"
    assert len(rest.split()) >= 20, "a paragraph says how: the loss and its source, what it spends"
    assert TRY_IT.format(kind=kind) in " ".join(text.split())


@each_stage
def test_config_and_run_have_the_agreed_form(kind: str) -> None:
    module = stage_module(kind)
    assert issubclass(module.Config, StageConfig)
    assert module.Config.model_fields["stage"].default == kind
    assert list(inspect.signature(module.run).parameters) == ["config", "context"]


@each_stage
def test_its_smoke_recipe_plans_and_uses_it(kind: str, tmp_path: Path) -> None:
    recipe = load_recipe(SMOKE / f"{kind}.yaml")
    plan = make_plan(recipe, tmp_path)
    assert kind in {step.config.stage for step in plan.steps}
    assert not any(step.complete for step in plan.steps)


def agree(one: Any, other: Any) -> bool:
    """Whether nothing that both say differs; what is said to people aside."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return bool(one == other)
    return all(agree(one[key], other[key]) for key in one.keys() & other.keys() - {"description", "expectation"})


def recipes_together(folder: Path) -> list[Path]:
    """The smoke recipes that begin with one file and agree as one recipe: each by itself would start a server."""
    together: list[tuple[Path, dict[str, Any]]] = []
    for kind in KINDS:
        path = first = SMOKE / f"{kind}.yaml"
        while parent := read_yaml(first).get("extends"):
            first = SMOKE / parent
        values = read_with_parents(path)
        for number, (beginning, others) in enumerate(together):
            if beginning == first and agree(others, values):
                if others != values:  # a null that takes something out of an arm would be gone after a second time
                    together[number] = (first, merged(others, values))
                break
        else:
            together.append((first, values))
    paths = [folder / f"{number}.yaml" for number in range(len(together))]
    for path, (_, values) in zip(paths, together, strict=True):
        path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return paths


@pytest.mark.slow
def test_the_smoke_recipes_run_with_a_real_server(smoke_root: Path, tmp_path: Path) -> None:
    for recipe in recipes_together(tmp_path):
        status, output = Run("run", recipe, "--root", smoke_root).finish()
        assert status == 0, output


METRICS_PAGE = SMOKE.parents[1] / "docs" / "metrics.md"
RECORDED = ("reward", "groups_mixed", "rollouts_trained", "frac_reward_zero_std", "importance_ratio",
            "importance_log_ratio", "importance_truncated", "sampler_mismatch", "clip_ratio",
            "clip_ratio_low", "clip_ratio_high", "entropy", "grad_norm", "staleness")  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "also"), [("sparse_grpo", ()), ("extra_rl", ("kl",))])
def test_what_group_relative_learning_promises_is_in_its_metrics(
    kind: str, also: tuple[str, ...], smoke_root: Path
) -> None:
    assert main(["run", str(SMOKE / f"{kind}.yaml"), "--root", str(smoke_root)]) == 0
    (folder,) = (smoke_root / "registry").glob(f"{kind}-*")
    for row in (rows := read_metrics(folder / "metrics.jsonl")):
        assert {*RECORDED, *also} <= row.keys()
    assert len(rows) == 2


@pytest.mark.slow
def test_every_column_of_their_metrics_is_documented(smoke_root: Path) -> None:
    files = list((smoke_root / "registry").glob("*/metrics.jsonl"))
    columns = {column for path in files for row in read_metrics(path) for column in row}
    assert files and not {column for column in columns if f"`{column}`" not in METRICS_PAGE.read_text()}


@pytest.mark.slow
@each_stage
def test_a_finished_stage_is_skipped(kind: str, smoke_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(SMOKE / f"{kind}.yaml"), "--root", str(smoke_root)]) == 0
    said = capsys.readouterr().out
    assert "everything is up to date" in said, "alone this test finds nothing made; run the whole file"
