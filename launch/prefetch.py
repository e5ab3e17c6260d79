"""`python -m launch prefetch`: models and data from the hub into HF_HOME, on a machine that has network.

What a recipe needs is found without planning it: a plan already reads the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reasoning_pipeline.base.hub import is_commit
from reasoning_pipeline.data.sources import load_problems
from reasoning_pipeline.data.suites.loading import load_suite
from reasoning_pipeline.data.suites.spec import spec_or_own
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.models.outside import outside_folder
from reasoning_pipeline.models.pins import SHOWN_DIGITS, Pins
from reasoning_pipeline.recipe.arms import worlds
from reasoning_pipeline.recipe.reading import STEP, Recipe
from reasoning_pipeline.recipe.sections import data_source
from reasoning_pipeline.registry.resolve import resolve_model


@dataclass(frozen=True)
class Wanted:
    """One thing to fetch.

    Example:
        Wanted(kind="model", name="Qwen/Qwen3-8B", used_by=("teacher_rl",))
    """

    kind: str
    """model, data or suite."""
    name: str
    used_by: tuple[str, ...]
    key: str = ""
    """Data set of the recipe, or suite; for a model nothing."""


def wanted(recipe: Recipe) -> list[Wanted]:
    """Everything of the hub that this recipe and its arms read."""
    models: dict[str, list[str]] = {}
    for step, reference in _references(recipe):
        if (
            not reference.startswith(STEP)
            and reference.count("/") == 1
            and outside_folder(reference, recipe.folder) is None
        ):
            models.setdefault(reference, []).append(step)
    found = [Wanted("model", name, tuple(dict.fromkeys(steps))) for name, steps in models.items()]
    for name, data in recipe.data.items():
        if data.source == "hub":
            found.append(Wanted("data", f"{data.id}@{data.revision or 'main'}", (f"data.{name}",), name))
    for suite, local in data_source(recipe).benchmarks.items():
        hub = spec_or_own(suite).hub if local is None else None
        if hub is not None:
            found.append(Wanted("suite", f"{hub.dataset}@{hub.revision[:12]}", (f"evaluate: {suite}",), suite))
    return found


def _references(recipe: Recipe) -> Iterator[tuple[str, str]]:
    for world in worlds(recipe, recipe.seed):
        for step in world.recipe.steps:
            for _, reference, _ in world.recipe.references(step):
                yield step, reference


def fetch(recipe: Recipe, item: Wanted, root: Path, *, store: Path | None = None, given: str = "") -> str:
    """Bring one thing into the cache and look at it as a run would; says what it found.

    What the recipe used before is fetched again at that commit; what it never used gets its commit here.

    Args:
        store: Holds the registry; `root` where it is not given.
        given: The recipe with the options by which it was named, for messages.

    Raises:
        PipelineError: It cannot be had, with what to do about it.
    """
    pins = Pins(root / recipe.name)
    try:
        if item.kind == "model":
            folder = resolve_model(pins.model(item.name), store or root).folder
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            found = f"{size / 2**30:,.2f} GiB in {folder}"
            pins.model(item.name)
        elif item.kind == "data":
            config = recipe.data[item.key]
            problems = load_problems(pins.data(config), folder=Path(recipe.path).resolve().parent, seed=recipe.seed)
            commit = pins.data(config).revision or ""
            found = f"{len(problems):,} problems" + (f" at {commit[:SHOWN_DIGITS]}" if is_commit(commit) else "")
        else:
            found = f"{len(load_suite(item.key).problems):,} problems"
    except PipelineError as error:
        raise PipelineError(f"{item.kind} {item.name}: {error.message}", remedy=error.remedy) from error
    pins.save()
    moves = pins.moved(ask=True)
    return "\n".join([found, *(f"       {move.told(given or str(recipe.path))}" for move in moves)])
