"""What was searched: the arms of another recipe, tried on a validation split to settle an arm of this one, and whether
the arm has the settings that came out best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.recipe.stage import Input, Measures, Prompts, Spends, StageConfig, fields_marked
from reasoning_pipeline.report.arms.beside import plan_beside
from reasoning_pipeline.report.arms.outcomes import ArmResult, arm_results
from reasoning_pipeline.report.results import suites

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan
    from reasoning_pipeline.recipe.reading import Recipe

CIRCUMSTANCE = ("seed", "save_every", "replay")
"""Fields that no search settles; references and pools are left out by their marks."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """The search behind one arm.

    Example:
        Search(arm="direct", recipe="direct_search.yaml", suite="validation.jsonl", tried=(ArmResult(…), …),
               best="lr_16e_4", verdict="matches the best of the search")
    """

    arm: str
    recipe: str
    suite: str
    """The one by which the best is chosen: the search's first."""
    tried: tuple[ArmResult, ...]
    best: str | None
    """None where nothing has been scored."""
    verdict: str


def searches(plan: Plan) -> tuple[Search, ...]:
    """In the recipe's order. What cannot be read is said, and stops no page."""
    return tuple(_search(plan, arm, name) for arm, name in plan.recipe.searched.items())


def _search(plan: Plan, arm: str, name: str) -> Search:
    try:
        search = plan_beside(plan, name)
    except PipelineError as error:
        verdict = f"the search cannot be read: {error}"
        return Search(arm=arm, recipe=name, suite="", tried=(), best=None, verdict=verdict)
    tried = tuple(arm_results(search))
    suite = suites(search)[0] if suites(search) else ""
    scored = [result for result in tried if suite in result.accuracy]
    if not scored:
        verdict = "the search has not been run under this root"
        return Search(arm=arm, recipe=name, suite=suite, tried=tried, best=None, verdict=verdict)
    best = max(scored, key=lambda result: result.accuracy[suite].mean)
    verdict = _compared(outcome_config(plan.recipe, arm), outcome_config(search.recipe, best.arm))
    missing = sum(bool(result.missing) or not result.seeds for result in tried)
    if missing:
        verdict += f"; {missing} of {len(tried)} are not scored under every seed yet"
    return Search(arm=arm, recipe=name, suite=suite, tried=tried, best=best.arm, verdict=verdict)


def outcome_config(recipe: Recipe, arm: str) -> StageConfig | None:
    """The settings of the step that stands for an arm."""
    from reasoning_pipeline.recipe.model import MAIN

    if arm == MAIN:
        return recipe.steps[recipe.main_outcome] if recipe.main_outcome is not None else None
    return recipe.arms[arm].steps[recipe.arms[arm].outcome]


def _compared(here: StageConfig | None, best: StageConfig | None) -> str:
    """`differs from the best of the search: learning_rate here 0.0008, there 0.0016`."""
    ours, theirs = _settings(here), _settings(best)
    names = [name for name in dict.fromkeys((*ours, *theirs)) if ours.get(name) != theirs.get(name)]
    if not names:
        return "matches the best of the search"
    told = ", ".join(f"{name} here {_text(ours.get(name))}, there {_text(theirs.get(name))}" for name in names)
    return f"differs from the best of the search: {told}"


def _settings(config: StageConfig | None) -> dict[str, Any]:
    if config is None:
        return {}
    marked = {name for mark in (Input, Spends, Prompts, Measures) for name in fields_marked(type(config), mark)}
    return config.model_dump(mode="json", exclude={*CIRCUMSTANCE, *marked})


def _text(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
