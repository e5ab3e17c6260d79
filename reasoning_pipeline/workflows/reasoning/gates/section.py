"""`gates:` as a section of a recipe: what may be wrong with it, and what it puts into the plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reasoning_pipeline.base.validation import suggestion
from reasoning_pipeline.recipe.model import Recipe, lineage
from reasoning_pipeline.recipe.sections import Section
from reasoning_pipeline.recipe.stage import Spends, StageConfig
from reasoning_pipeline.workflows.reasoning.gates.asked import GatesConfig, gates_of
from reasoning_pipeline.workflows.reasoning.gates.measuring import (
    ON_POLICY,
    WARMUP,
    distils,
    extended,
    feeds_on_policy,
    steps_after,
    steps_before,
    trained_teachers,
)


def gate_problems(recipe: Recipe) -> Iterator[str]:
    """One sentence per problem, with its place."""
    gates, pools = gates_of(recipe), recipe.pools()
    if gates is None:
        return
    if gates.c1 is not None:
        if not trained_teachers(recipe):
            yield "gates.c1: no step that spends labels is asked as a teacher, so there is no gain to measure"
        pool = gates.c1.problems
        if pool not in pools:
            hint = "; a whole data set is a pool of share 1" if pool in recipe.data else suggestion(pool, pools)
            yield f"gates.c1.problems: no pool is called {pool!r}{hint}"
    if gates.c2 is not None:
        if not any(distils(config) for config in recipe.steps.values()):
            yield "gates.c2: no step distils a teacher into a student, so there is no distance to measure"
        for pool in gates.c2.prompts:
            if pool not in pools:
                yield f"gates.c2.prompts: no pool is called {pool!r}{suggestion(pool, pools)}"
        if gates.c2.on_failure == "extend":
            yield from _extension_problems(recipe)


def learned_from_measured(recipe: Recipe) -> Iterator[str]:
    """Where a teacher has learned from the labels that C1 measures it by. Asked of every arm: each is its own world."""
    gates = gates_of(recipe)
    if gates is None or gates.c1 is None:
        return
    pool = gates.c1.problems
    for teacher in sorted(trained_teachers(recipe)):
        for step in (*lineage(recipe, teacher), teacher):
            if pool in recipe.pools_of(step, Spends):
                yield (
                    f"gates.c1.problems: the pool {pool!r} is spent by {step!r}, so the teacher {teacher!r} has "
                    "learned from its labels; name a pool that is spent later or not at all"
                )


def _extension_problems(recipe: Recipe) -> Iterator[str]:
    warmups = [name for name, c in recipe.steps.items() if c.stage == WARMUP and feeds_on_policy(recipe, name)]
    if not warmups:
        yield f"gates.c2.on_failure: nothing to extend: no {WARMUP} step leads to {ON_POLICY}"
    for name in warmups:
        config: Any = recipe.steps[name]
        if getattr(config, "until", None) is not None:
            yield f"steps.{name}.until: stands beside `gates.c2.on_failure: extend`, which sets it; say one of them"
        if getattr(config, "steps", None) is None:
            yield f"steps.{name}.steps: `gates.c2.on_failure: extend` counts from a number of steps; give it"
        if getattr(config, "schedule", "constant") != "constant":
            yield (
                f"steps.{name}.schedule: must be `constant` where the end is decided in training "
                "(gates.c2.on_failure: extend); a rate that falls over the budget would end in mid-fall"
            )


class Gates(Section):
    """`gates:` in a recipe."""

    key = "gates"
    model = GatesConfig

    def problems(self, recipe: Recipe, all_names: list[str]) -> Iterator[str]:
        return gate_problems(recipe)

    def arm_problems(self, recipe: Recipe) -> Iterator[str]:
        return learned_from_measured(recipe)

    def before(self, recipe: Recipe, step: str) -> Iterator[tuple[str, StageConfig]]:
        return steps_before(recipe, step)

    def changed(self, recipe: Recipe, step: str, config: StageConfig) -> StageConfig:
        return extended(recipe, step, config)

    def after(self, recipe: Recipe, step: str) -> Iterator[tuple[str, StageConfig]]:
        return steps_after(recipe, step)
