"""What is wrong between the fields of a recipe: references, pools, spending. One sentence a problem, with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from reasoning_pipeline.base.validation import suggestion
from reasoning_pipeline.custom.naming import FunctionName, problems_of
from reasoning_pipeline.recipe.model import STEP, Recipe, lineage
from reasoning_pipeline.recipe.sections import sections
from reasoning_pipeline.recipe.stage import Prompts, Reads, Spends, can_answer, fields_marked


def recipe_problems(recipe: Recipe, all_names: list[str]) -> Iterator[str]:
    """Problems of the recipe's own steps, its data and its evaluations.

    Args:
        all_names: Every step the file names, also those that could not be read.
    """
    repeated = [p for d in recipe.data.values() for p in d.pools]
    for pool in sorted({p for p in repeated if repeated.count(p) > 1}):
        yield f"data: the pool {pool!r} is declared twice"
    for name, data in recipe.data.items():
        own = FunctionName.parse(data.map or "")
        if own is not None and own.is_file:
            found = problems_of(recipe.folder / Path(own.source).expanduser(), own.function)
            yield from (f"data.{name}.map: {problem}" for problem in found)
    yield from step_problems(recipe, all_names)
    for section in sections():
        yield from section.problems(recipe, all_names)
    if recipe.outcome is not None and not (recipe.outcome in recipe.steps and can_answer(recipe.steps[recipe.outcome])):
        yield from checkpoint_problems(recipe, recipe.outcome, "outcome", "an outcome is a checkpoint", all_names)


def searched_problems(recipe: Recipe, arms: Iterable[str]) -> Iterator[str]:
    """Whose settings a search is said to have settled. Whether it can be read, the report says; no run needs it."""
    for arm in recipe.searched:
        if arm not in arms:
            yield f"searched.{arm}: no arm is called {arm!r}{suggestion(arm, arms)}"


def step_problems(recipe: Recipe, all_names: list[str]) -> Iterator[str]:
    """Problems of the steps alone; an arm has these too."""
    pools = recipe.pools()
    for name, config in recipe.steps.items():
        above = all_names[: all_names.index(name)]
        for field, reference, kind in recipe.references(name):
            yield from _reference_problems(recipe, name, field, reference, kind, above, all_names)
        for mark in (Spends, Prompts):
            for field in fields_marked(type(config), mark):
                named = getattr(config, field)
                for pool in dict.fromkeys(named):
                    if pool not in pools:
                        yield f"steps.{name}.{field}: no pool is called {pool!r}{suggestion(pool, pools)}"
                    if named.count(pool) > 1:
                        yield f"steps.{name}.{field}: names the pool {pool!r} {named.count(pool)} times"
        yield from (f"steps.{name}.{problem}" for problem in config.problems_in(recipe.folder))
    yield from _spending_problems(recipe)
    for section in sections():
        yield from section.arm_problems(recipe)
    for name, config in recipe.steps.items():
        for field in fields_marked(type(config), Reads):
            data = getattr(config, field)
            if data is not None and data not in recipe.data:
                yield f"steps.{name}.{field}: no data set is called {data!r}{suggestion(data, recipe.data)}"


def _reference_problems(
    recipe: Recipe, name: str, field: str, reference: str, kind: str, above: list[str], all_names: list[str]
) -> Iterator[str]:
    place = f"steps.{name}.{field}"
    if not reference.startswith(STEP):
        if reference in all_names:
            yield f'{place}: {reference!r} names a step; write "{STEP}{reference}"'
        return
    target = reference.removeprefix(STEP)
    if target in above:
        publishes = type(recipe.steps[target]).publishes if target in recipe.steps else kind
        if publishes != kind:
            yield f"{place}: {reference!r} publishes {publishes}, but {kind} is needed here"
    elif target == name:
        yield f"{place}: {reference!r} is this step itself"
    elif target in all_names:
        yield f"{place}: {reference!r} is not above this step; move it up"
    else:
        yield f"{place}: {reference!r} is not a step above it{suggestion(target, above, prefix=STEP)}"


def checkpoint_problems(recipe: Recipe, name: str, place: str, why: str, all_names: list[str]) -> Iterator[str]:
    if name not in all_names:
        yield f"{place}: no step is called {name!r}{suggestion(name, all_names)}"
    elif name in recipe.steps and (publishes := type(recipe.steps[name]).publishes) != "checkpoint":
        yield f"{place}: {name!r} publishes {publishes}, and {why}"


def _spending_problems(recipe: Recipe) -> Iterator[str]:
    for name in recipe.steps:
        for pool in recipe.pools_of(name, Spends):
            spender = next((a for a in lineage(recipe, name) if pool in recipe.pools_of(a, Spends)), None)
            if spender is not None and not getattr(recipe.steps[name], "replay", False):
                yield (
                    f"steps.{name}.spends: the pool {pool!r} was already spent by {spender!r}, from which this step "
                    "comes; choose a pool not spent yet, or say `replay: true`"
                )
