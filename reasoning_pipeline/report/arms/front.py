"""The opening of a page about several arms: which stage earned what, and what stands behind the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasoning_pipeline.report.arms.charts import ArmSection, arm_section
from reasoning_pipeline.report.arms.earned import Earned, earned, headline
from reasoning_pipeline.report.arms.over_seeds import OverSeeds, over_seeds
from reasoning_pipeline.report.arms.searched import Search, searches
from reasoning_pipeline.report.parts import PagePart, parts

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan


@dataclass(frozen=True, kw_only=True)
class Front:
    headline: str
    earned: tuple[Earned, ...]
    """By the recipe's first suite; empty where no arm says what it lacks."""
    suite: str
    others: tuple[tuple[str, tuple[Earned, ...]], ...]
    """The same by every other suite."""
    arms: ArmSection
    over_seeds: OverSeeds | None
    searches: tuple[Search, ...]
    beside: PagePart | None
    """The part that has something to say of an arm beside the main one."""


def front(plan: Plan) -> Front:
    arms = arm_section(plan)
    main, first = arms.results[0], arms.suites[0] if arms.suites else ""
    return Front(
        headline=headline(arms.results, first),
        earned=earned(arms.results, first),
        suite=first,
        others=tuple((suite, earned(arms.results, suite)) for suite in arms.suites[1:]),
        arms=arms,
        over_seeds=over_seeds(plan),
        searches=searches(plan),
        beside=next((p for p in parts() if any(p.beside(r.sections, main.sections) for r in arms.results[1:])), None),
    )
