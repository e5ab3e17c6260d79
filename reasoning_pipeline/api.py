"""The public Python API: what the commands do, as functions. Nothing here imports torch.

    from reasoning_pipeline import api

    recipe = api.load_recipe("mine.yaml", ["steps.polish.learning_rate=2e-6"])
    print([(step.name, step.complete) for step in api.plan(recipe).steps])
    plan = api.run(recipe, hardware="cpu")
    polish = plan.step("polish").artifact
    scores = api.evaluate([polish.folder], ["own.yaml"], samples=4)
    print(scores[0].summaries["own"].score)

What these return are the project's own frozen records (`Recipe`, `Plan`, `Artifact`, `EvaluationResult`); their
documented fields are part of the API, other modules are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.recipe.reading import load_recipe

if TYPE_CHECKING:
    from evals.compare import Comparison
    from evals.results import EvaluationResult
    from reasoning_pipeline.plan.graph import Plan
    from reasoning_pipeline.recipe.model import Recipe
    from reasoning_pipeline.registry.store import Artifact

__all__ = ["compare", "evaluate", "find", "load_recipe", "metrics", "plan", "run", "verify"]

ROOT = Path("runs")
"""Where registry and runs live unless it is said otherwise, as on the command line."""


def plan(
    recipe: Recipe | str | Path, *, root: str | Path = ROOT, arms: Sequence[str] = (), seeds: Sequence[int] = ()
) -> Plan:
    """Every step of a recipe with its identity, its inputs and whether it is complete. Runs and downloads nothing.

    Args:
        arms: Only what these need; every arm where none is named.

    Raises:
        RecipeError: Lists everything wrong with the recipe.
    """
    from reasoning_pipeline.data.unread import SketchedPools
    from reasoning_pipeline.plan.planner import make_plan

    made = make_plan(_recipe(recipe), Path(root), seeds, SketchedPools)
    return made.of_arms(arms) if arms else made


def run(
    recipe: Recipe | str | Path,
    *,
    root: str | Path = ROOT,
    hardware: str | Path | None = None,
    arms: Sequence[str] = ("main",),
    seeds: Sequence[int] = (),
    until: str | None = None,
    only: str | None = None,
) -> Plan:
    """Runs every step that is not complete, as `python -m reasoning_pipeline run` does; the plan as it then stands.

    Args:
        hardware: A profile by name or path; `cpu` where it is not given.
        until: Up to this step: it and everything it needs.
        only: This step alone.

    Raises:
        PipelineError: A step failed, or was stopped; what was finished is kept.
    """
    from rich.console import Console

    from reasoning_pipeline.hardware.profile import load_profile
    from reasoning_pipeline.run.runner import Runner

    runner = Runner(
        _recipe(recipe), load_profile(str(hardware) if hardware is not None else None), Path(root), Console()
    )
    made, _ = runner.run(arms=tuple(arms), seeds=tuple(seeds), only=only, until=until)
    return made


def find(reference: str, *, root: str | Path = ROOT) -> Artifact:
    """The newest artifact of a step (`polish`, `recipe/polish`) or with this name, whole or its beginning; it has
    `folder` and `record`.

    Raises:
        RegistryError: There is none.
    """
    from reasoning_pipeline.errors import RegistryError
    from reasoning_pipeline.registry.store import Registry

    registry = Registry(Path(root))
    steps = {artifact.name: artifact.record.step for artifact in registry.artifacts()}
    fits = [
        artifact
        for artifact in registry.artifacts()
        if reference in (artifact.record.step, f"{artifact.record.recipe}/{artifact.record.step}")
        or artifact.name.startswith(reference)
    ]
    if not fits:
        known = ", ".join(sorted(set(steps.values()))) or "nothing yet"
        raise RegistryError(f"{registry.folder} holds no {reference!r}", remedy=f"name one of: {known}")
    return max(fits, key=lambda artifact: artifact.record.created)


def metrics(artifact: Artifact) -> list[dict[str, Any]]:
    """The rows that its training wrote, one an optimizer step; empty where it kept none."""
    from reasoning_pipeline.base.jsonl import read_rows

    path = artifact.folder / "metrics.jsonl"
    return read_rows(path) if path.is_file() else []


def evaluate(
    checkpoints: Iterable[str | Path],
    suites: Iterable[str | Path],
    *,
    samples: int = 1,
    out: str | Path = ROOT / "evals",
    root: str | Path = ROOT,
    hardware: str | Path | None = None,
    options: Sequence[str] = (),
) -> list[EvaluationResult]:
    """Scores checkpoints (registry names, folders or hub names) on suites, as `python -m evals` does; one result each.

    Args:
        out: One folder a checkpoint below it; called again, it continues.
        options: Any further ones of the command line: `["--limit", "50", "--max-tokens", "1024"]`.
    """
    cli = import_module("reasoning_pipeline.beside.evals.cli")
    results = import_module("reasoning_pipeline.beside.evals.results")
    found: list[EvaluationResult] = []
    for checkpoint in checkpoints:
        folder = Path(out) / (Path(checkpoint).name or "checkpoint")
        given = [str(checkpoint), *(word for suite in suites for word in ("--suite", str(suite)))]
        given += ["--samples", str(samples), "--out", str(folder), "--registry", str(root), *options]
        cli.main([*given, *(["--hardware", str(hardware)] if hardware is not None else [])])
        found.append(results.load(folder))
    return found


def compare(results: Sequence[EvaluationResult]) -> list[Comparison]:
    """Each result against the first, suite by suite, paired by problem: means, interval, p.

    Raises:
        ComparisonError: They were not asked alike; it names every difference.
    """
    found: list[Comparison] = import_module("reasoning_pipeline.beside.evals.compare").compare_results(results)
    return found


def verify(answers: Sequence[str], texts: Sequence[str], *, profile: str = "strict") -> list[Any]:
    r"""The verifier's verdict on each text, judged against the answer beside it.

    Example:
        verify(["1/2"], [r"It is \boxed{0.5}."])[0].reward == 1.0
    """
    from reasoning_pipeline.verifier import shared_verifier

    return list(shared_verifier(profile).judge(answers, texts))  # type: ignore[arg-type]


def _recipe(recipe: Recipe | str | Path) -> Recipe:
    return load_recipe(recipe) if isinstance(recipe, str | Path) else recipe
