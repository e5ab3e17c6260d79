"""Arms as drawings: every arm's accuracy on one axis, and accuracy against the labels it took. Positions in percent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasoning_pipeline.report.arms import ArmResult, Cost, arm_results, hours, total_cost
from reasoning_pipeline.report.charts import Scale, Tick, accuracy_scale, percent_ticks
from reasoning_pipeline.report.results import suites

if TYPE_CHECKING:
    from reasoning_pipeline.plan import Plan

NAME_GAP = 5.5
"""Least distance of two names beside one column of points, in percent of the drawing's height."""

TICK_GAP = 12.0
"""Least distance of two label counts below the drawing, in percent of its width."""

LEFT_MARGIN = 40.0
"""Points left of this, in percent, have no room for a name on their left."""


@dataclass(frozen=True, kw_only=True)
class ArmMark:
    """One arm on one suite; None where it has not been scored."""

    result: ArmResult
    at: float | None
    low: float | None
    high: float | None
    by_seed: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ArmChart:
    suite: str
    marks: tuple[ArmMark, ...]
    ticks: tuple[Tick, ...]
    main: float | None
    """Where the main arm stands, drawn through the others' rows."""
    caption: str


@dataclass(frozen=True, kw_only=True)
class LabelPoint:
    """An arm at (labels, accuracy), its interval, and the height at which its name stands."""

    arm: str
    x: float
    y: float
    low: float | None
    high: float | None
    name_y: float
    name_left: bool
    """Beside its point on the left, where another column follows on the right."""
    spoken: str


@dataclass(frozen=True, kw_only=True)
class LabelChart:
    suite: str
    points: tuple[LabelPoint, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True, kw_only=True)
class ArmSection:
    """What the page says about arms and seeds."""

    results: tuple[ArmResult, ...]
    charts: tuple[ArmChart, ...]
    label_charts: tuple[LabelChart, ...]
    seeds: tuple[int, ...]
    suites: tuple[str, ...]
    total: Cost | None
    """Spent on training and rollouts of all arms and seeds, shared steps once."""
    shared: str


def arm_section(plan: Plan) -> ArmSection:
    results = arm_results(plan)
    return ArmSection(
        results=tuple(results),
        charts=tuple(_chart(suite, results) for suite in suites(plan)),
        label_charts=tuple(_label_chart(suite, results) for suite in suites(plan) if _scored(suite, results)),
        seeds=plan.seeds,
        suites=suites(plan),
        total=total_cost(plan),
        shared=_shared(plan),
    )


def _shared(plan: Plan) -> str:
    """`142 steps instead of 261 (46 % saved), 2.1 h instead of 3.9 h (46 % saved)`."""
    from reasoning_pipeline.sharing import savings

    parts = []
    for saving in savings(plan):
        if saving.unit == "seconds":
            amounts = f"{hours(saving.needed / 3600)} instead of {hours(saving.alone / 3600)}"
        else:
            amounts = f"{saving.needed:,.0f} {saving.unit} instead of {saving.alone:,.0f}"
        parts.append(f"{amounts} ({100 * saving.share:.0f} % saved)")
    return ", ".join(parts)


def _scored(suite: str, results: Sequence[ArmResult]) -> list[ArmResult]:
    return [result for result in results if suite in result.accuracy]


def _chart(suite: str, results: Sequence[ArmResult]) -> ArmChart:
    estimates = [result.accuracy[suite] for result in _scored(suite, results)]
    scale = accuracy_scale(max((max(e.high or e.mean, *e.by_seed) for e in estimates), default=1.0))
    from reasoning_pipeline.recipe_model import MAIN

    main = next((result.accuracy.get(suite) for result in results if result.arm == MAIN), None)
    asked = {(estimate.problems, estimate.seeds) for estimate in estimates}
    problems, seeds = asked.pop() if len(asked) == 1 else (None, None)
    return ArmChart(
        suite=suite,
        marks=tuple(_mark(result, suite, scale) for result in results),
        ticks=percent_ticks(scale),
        main=scale.at(main.mean) if main is not None else None,
        caption=f"{problems:,} problems × {seeds} seed{'s' if seeds != 1 else ''}" if problems else "",
    )


def _mark(result: ArmResult, suite: str, scale: Scale) -> ArmMark:
    found = result.accuracy.get(suite)
    if found is None:
        return ArmMark(result=result, at=None, low=None, high=None, by_seed=())
    return ArmMark(
        result=result,
        at=scale.at(found.mean),
        low=None if found.low is None else scale.at(found.low),
        high=None if found.high is None else scale.at(found.high),
        by_seed=tuple(scale.at(value) for value in found.by_seed) if found.seeds > 1 else (),
    )


def _label_chart(suite: str, results: Sequence[ArmResult]) -> LabelChart:
    scored = _scored(suite, results)
    counts = sorted({result.labels for result in scored})
    x = Scale(0.0, float(max(*counts, 1)))
    y = accuracy_scale(max(r.accuracy[suite].high or r.accuracy[suite].mean for r in scored))
    points = []
    for labels in counts:
        column = sorted((r for r in scored if r.labels == labels), key=lambda r: -r.accuracy[suite].mean)
        heights = _spread([100 - y.at(result.accuracy[suite].mean) for result in column])
        for result, name_y in zip(column, heights, strict=True):
            found = result.accuracy[suite]
            points.append(
                LabelPoint(
                    arm=result.arm,
                    x=x.at(labels),
                    y=round(100 - y.at(found.mean), 2),
                    low=None if found.low is None else round(100 - y.at(found.low), 2),
                    high=None if found.high is None else round(100 - y.at(found.high), 2),
                    name_y=name_y,
                    name_left=LEFT_MARGIN < x.at(labels) < 100,
                    spoken=f"{result.arm}: {100 * found.mean:.1f} percent with {labels:,} labels",
                )
            )
    return LabelChart(suite=suite, points=tuple(points), x_ticks=_ticks(counts, x), y_ticks=percent_ticks(y))


def _ticks(counts: Sequence[int], x: Scale) -> tuple[Tick, ...]:
    """The label counts themselves, from the right, as far as they leave room for one another."""
    ticks: list[Tick] = []
    for labels in sorted({0, *counts}, reverse=True):
        at = x.at(labels)
        if not ticks or ticks[-1].at - at > TICK_GAP:
            ticks.append(Tick(at, f"{labels:,}"))
    return tuple(reversed(ticks))


def _spread(heights: Sequence[float]) -> list[float]:
    """Ascending heights moved apart just enough that names beside them do not overlap."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + NAME_GAP) if placed else height)
    over = max(0.0, placed[-1] - 100) if placed else 0.0
    for i in range(len(placed) - 1, -1, -1):  # pushed back up where the lowest would leave the drawing
        ceiling = 100 - NAME_GAP * (len(placed) - 1 - i)
        placed[i] = min(placed[i], ceiling) if over else placed[i]
    return [round(height, 2) for height in placed]
