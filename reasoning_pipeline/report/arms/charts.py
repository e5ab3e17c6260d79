"""What the page says about arms and seeds, and every arm's accuracy on one axis. Positions in percent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasoning_pipeline.base.text import counted, hours
from reasoning_pipeline.recipe.model import MAIN
from reasoning_pipeline.report.arms.beside import curve_arms
from reasoning_pipeline.report.arms.outcomes import ArmResult, Cost, arm_results, shorter_on_a_curve, total_cost
from reasoning_pipeline.report.arms.scatter import CurveChart, Scatter, by_cpu_time, by_labels, curve_chart
from reasoning_pipeline.report.charts import Scale, Tick, accuracy_scale, percent_ticks
from reasoning_pipeline.report.parts import beside
from reasoning_pipeline.report.results import suites

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan


@dataclass(frozen=True, kw_only=True)
class ArmMark:
    """One arm on one suite; None where it has not been scored."""

    result: ArmResult
    at: float | None
    low: float | None
    high: float | None
    by_seed: tuple[float, ...]
    beside: str
    """`paper −0.7`: what somebody else found against the main arm; empty where no workflow says."""


@dataclass(frozen=True, kw_only=True)
class ArmChart:
    suite: str
    marks: tuple[ArmMark, ...]
    ticks: tuple[Tick, ...]
    main: float | None
    """Where the main arm stands, drawn through the others' rows."""
    caption: str


@dataclass(frozen=True, kw_only=True)
class ArmSection:
    """What the page says about arms and seeds."""

    results: tuple[ArmResult, ...]
    charts: tuple[ArmChart, ...]
    """Of the arms that ask what a stage is worth; those that only fill a curve are drawn there."""
    label_charts: tuple[Scatter, ...]
    cpu_charts: tuple[Scatter, ...]
    curve_charts: tuple[CurveChart, ...]
    curves_from: str
    """Another recipe and its seeds, where the curves are from there."""
    seeds: tuple[int, ...]
    suites: tuple[str, ...]
    total: Cost | None
    """Spent on training and rollouts of all arms and seeds, shared steps once."""
    shared: str


def arm_section(plan: Plan) -> ArmSection:
    results = arm_results(plan)
    asking = [result for result in results if not shorter_on_a_curve(result, results)]
    curves = curve_arms(plan, tuple(results))
    return ArmSection(
        results=tuple(results),
        charts=tuple(_chart(suite, asking, others=suite == suites(plan)[0]) for suite in suites(plan)),
        label_charts=tuple(chart for suite in suites(plan) if (chart := by_labels(suite, asking)) is not None),
        cpu_charts=tuple(chart for suite in suites(plan) if (chart := by_cpu_time(suite, asking)) is not None),
        curve_charts=tuple(c for suite in suites(plan) if (c := curve_chart(suite, curves.results)) is not None),
        curves_from=curves.source,
        seeds=plan.seeds,
        suites=suites(plan),
        total=total_cost(plan),
        shared=_shared(plan),
    )


def _shared(plan: Plan) -> str:
    """`142 steps instead of 261 (46 % saved), 2.1 h instead of 3.9 h (46 % saved)`."""
    from reasoning_pipeline.plan.sharing import savings

    parts = []
    for saving in savings(plan):
        if saving.unit == "seconds":
            amounts = f"{hours(saving.needed / 3600)} instead of {hours(saving.alone / 3600)}"
        else:
            amounts = f"{saving.needed:,.0f} {saving.unit} instead of {saving.alone:,.0f}"
        parts.append(f"{amounts} ({100 * saving.share:.0f} % saved)")
    return ", ".join(parts)


def _chart(suite: str, results: Sequence[ArmResult], *, others: bool) -> ArmChart:
    """What `others` found stands in one chart alone: it is about no suite of ours."""
    estimates = [result.accuracy[suite] for result in results if suite in result.accuracy]
    scale = accuracy_scale(max((max(e.high or e.mean, *e.by_seed) for e in estimates), default=1.0))
    first = results[0] if results[0].arm == MAIN else None
    main = first.accuracy.get(suite) if first is not None else None
    asked = {(estimate.problems, estimate.seeds) for estimate in estimates}
    problems, seeds = asked.pop() if len(asked) == 1 else (None, None)
    return ArmChart(
        suite=suite,
        marks=tuple(_mark(r, suite, scale, _beside(r, first) if others else "") for r in results),
        ticks=percent_ticks(scale),
        main=scale.at(main.mean) if main is not None else None,
        caption=f"{problems:,} problems × {counted(seeds, 'seed')}" if problems and seeds else "",
    )


def _mark(result: ArmResult, suite: str, scale: Scale, said: str) -> ArmMark:
    found = result.accuracy.get(suite)
    if found is None:
        return ArmMark(result=result, at=None, low=None, high=None, by_seed=(), beside=said)
    return ArmMark(
        result=result,
        at=scale.at(found.mean),
        low=None if found.low is None else scale.at(found.low),
        high=None if found.high is None else scale.at(found.high),
        by_seed=tuple(scale.at(value) for value in found.by_seed) if found.seeds > 1 else (),
        beside=said,
    )


def _beside(result: ArmResult, main: ArmResult | None) -> str:
    found = beside(result.sections, main.sections) if main is not None else None
    return found.short if found is not None else ""
