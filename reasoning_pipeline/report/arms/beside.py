"""Other recipes that a page reads as well: what was searched, and curves that took runs of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.report.arms.outcomes import ArmResult, arm_results

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan


@dataclass(frozen=True, kw_only=True)
class CurveArms:
    """The arms that curves are drawn of, and where they are from.

    Example:
        CurveArms(results=(ArmResult(…), …), source="miniature_labels.yaml, seeds 0, 1, 2")
    """

    results: tuple[ArmResult, ...]
    source: str
    """Empty where they are the page's own; otherwise told beside the drawing, what is wrong with it too."""


def plan_beside(plan: Plan, name: str) -> Plan:
    """The plan of a recipe in the same folder, with its declared seeds, under the same root. Raises PipelineError."""
    from reasoning_pipeline.plan.planner import make_plan
    from reasoning_pipeline.recipe.reading import load_recipe

    recipe = load_recipe(Path(plan.recipe.path).parent / name)
    return make_plan(recipe, plan.root, recipe.seeds, store=plan.registry.root)


def curve_arms(plan: Plan, own: tuple[ArmResult, ...]) -> CurveArms:
    """Those of `curves_from`; what cannot be read is said, and stops no page."""
    name = plan.recipe.curves_from
    if name is None:
        return CurveArms(results=own, source="")
    try:
        other = plan_beside(plan, name)
    except PipelineError as error:
        return CurveArms(results=(), source=f"{name} cannot be read: {error}")
    results = tuple(arm_results(other))
    if not any(result.seeds for result in results):
        return CurveArms(results=(), source=f"{name} has not been run under this root")
    return CurveArms(results=results, source=f"{name}, seeds {', '.join(map(str, other.seeds))}")
