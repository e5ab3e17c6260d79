"""Which steps of a plan a command line asks for, and what must be on this machine before they can be planned."""

from __future__ import annotations

from reasoning_pipeline.base.validation import suggestion
from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.models.outside import UNFETCHED
from reasoning_pipeline.plan import judging
from reasoning_pipeline.plan.graph import Plan, PlannedStep


def selected(plan: Plan, only: str | None, until: str | None) -> list[PlannedStep]:
    """The steps a command line asks for. Raises RecipeError for a name that does not exist."""
    for name in (only, until):
        if name is not None and name not in plan.names():
            raise RecipeError(str(plan.recipe.path), [f"no step is called {name!r}{suggestion(name, plan.names())}"])
    if only is not None:
        return [plan.step(only)]
    if until is not None:
        last = plan.names().index(until)
        names = {until}
        for step in reversed(plan.steps[: last + 1]):
            if step.name in names:
                names.update(entry.step for entry in step.inputs if entry.step is not None)
        names |= judging.asked_of(plan, names)
        return [step for step in plan.steps if step.name in names]
    return list(plan.steps)


def unfetched_models(plan: Plan) -> list[str]:
    """Hub models of steps to be run whose revision has never been fetched to this machine."""
    found = {
        entry.reference
        for step in plan.steps
        for entry in step.inputs
        if step.identity.get("outside", {}).get(entry.field, {}).get("commit", "").endswith(UNFETCHED)
    }
    return sorted(found)
