"""Arms as points: accuracy against the labels or the CPU time that they took, and joined by a line where they are one
curve. Positions in percent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reasoning_pipeline.report.arms.outcomes import ArmResult
from reasoning_pipeline.report.charts import Scale, Tick, accuracy_scale, number, path, percent_ticks, value_scale

NAME_GAP = 5.5
"""Least distance of two names in one column, in percent of the drawing's height."""

TICK_GAP = 12.0
"""Least distance of two label counts below the drawing, in percent of its width."""

UNIT_WIDTH = 34.0
"""What the first tick of an axis of CPU time takes, with its unit behind it."""

LEFT_MARGIN = 40.0
"""Points left of this, in percent, have no room for a name on their left."""

Side = Literal["left", "right", "margin"]

CURVE_SIGNS = ("student", "baseline", "teacher")
"""Colour and shape of one curve after the other."""


@dataclass(frozen=True, kw_only=True)
class ScatterPoint:
    """An arm at (cost, accuracy), its interval, and where its name stands."""

    arm: str
    x: float
    y: float
    low: float | None
    high: float | None
    name_y: float
    name_side: Side
    """Beside its point, or in the margin on the right."""
    spoken: str


@dataclass(frozen=True, kw_only=True)
class Scatter:
    suite: str
    points: tuple[ScatterPoint, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    unit: str
    """Written behind the first tick."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Arms of one curve in the order of their labels.

    Example:
        Curve(name="direct GRPO", sign="baseline", path="M0 80L25 60", points=(ScatterPoint(…), …))
    """

    name: str
    sign: str
    path: str
    points: tuple[ScatterPoint, ...]


@dataclass(frozen=True, kw_only=True)
class CurveChart:
    suite: str
    curves: tuple[Curve, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def by_labels(suite: str, results: Sequence[ArmResult]) -> Scatter | None:
    """Accuracy against distinct labels; None where nothing has been scored."""
    scored = [result for result in results if suite in result.accuracy]
    if not scored:
        return None
    counts = sorted({result.labels for result in scored})
    x, y = Scale(0.0, float(max(*counts, 1))), _accuracy_axis(suite, scored)
    points: list[ScatterPoint] = []
    for labels in counts:  # names are spread column by column
        column = [result for result in scored if result.labels == labels]
        side: Side = "left" if LEFT_MARGIN < x.at(labels) < 100 else "right"
        points += _points(suite, [(r, x.at(labels), _labels(r)) for r in column], y, side)
    ticks = _ticks([0, *counts], x)
    return Scatter(suite=suite, points=tuple(points), x_ticks=ticks, y_ticks=percent_ticks(y), unit="labels")


def by_cpu_time(suite: str, results: Sequence[ArmResult]) -> Scatter | None:
    """Accuracy against CPU time, base models not counted; None where records do not say."""
    costs = {r.arm: r.after_base.cpu_hours for r in results if r.after_base is not None and suite in r.accuracy}
    scored = [result for result in results if result.arm in costs]
    if not any(costs.values()):
        return None
    unit, size = ("CPU hours", 1.0) if max(costs.values()) >= 2 else ("CPU minutes", 60.0)
    x = value_scale([0.0, *(size * hours for hours in costs.values())])
    y = _accuracy_axis(suite, scored)
    placed = [(r, x.at(size * costs[r.arm]), f"in {number(size * costs[r.arm])} {unit}") for r in scored]
    points = _points(suite, placed, y, "margin")
    first, *others = x.ticks()
    ticks = (first, *(tick for tick in others if tick.at > UNIT_WIDTH))
    return Scatter(suite=suite, points=tuple(points), x_ticks=ticks, y_ticks=percent_ticks(y), unit=unit)


def curve_chart(suite: str, results: Sequence[ArmResult]) -> CurveChart | None:
    """Curves of at least two scored arms; None where there is none. The axis of labels is logarithmic."""
    found: dict[str, list[ArmResult]] = {}
    for result in results:
        if result.curve and suite in result.accuracy and result.labels > 0:
            found.setdefault(result.curve, []).append(result)
    curves = {name: sorted(arms, key=lambda r: r.labels) for name, arms in found.items() if len(arms) > 1}
    counts = sorted({result.labels for arms in curves.values() for result in arms})
    if len(counts) < 2:
        return None
    x = Scale(float(counts[0]), float(counts[-1]), log=True)
    y = _accuracy_axis(suite, [result for arms in curves.values() for result in arms])
    drawn = []
    for position, (name, arms) in enumerate(curves.items()):
        line = path([(float(r.labels), r.accuracy[suite].mean) for r in arms], x, y)
        points = [point for r in arms for point in _points(suite, [(r, x.at(r.labels), _labels(r))], y, "right")]
        sign = CURVE_SIGNS[position % len(CURVE_SIGNS)]
        drawn.append(Curve(name=name, sign=sign, path=line, points=tuple(points)))
    return CurveChart(suite=suite, curves=tuple(drawn), x_ticks=_ticks(counts, x), y_ticks=percent_ticks(y))


def _accuracy_axis(suite: str, scored: Sequence[ArmResult]) -> Scale:
    return accuracy_scale(max(r.accuracy[suite].high or r.accuracy[suite].mean for r in scored))


def _labels(result: ArmResult) -> str:
    return f"with {result.labels:,} labels"


def _points(suite: str, placed: Sequence[tuple[ArmResult, float, str]], y: Scale, side: Side) -> list[ScatterPoint]:
    """From the highest to the lowest, their names one below the other. `placed`: (arm, x, cost in words)."""
    ordered = sorted(placed, key=lambda entry: -entry[0].accuracy[suite].mean)
    heights = _spread([100 - y.at(result.accuracy[suite].mean) for result, _, _ in ordered])
    points = []
    for (result, x, cost), name_y in zip(ordered, heights, strict=True):
        found = result.accuracy[suite]
        points.append(
            ScatterPoint(
                arm=result.arm,
                x=x,
                y=round(100 - y.at(found.mean), 2),
                low=None if found.low is None else round(100 - y.at(found.low), 2),
                high=None if found.high is None else round(100 - y.at(found.high), 2),
                name_y=name_y,
                name_side=side,
                spoken=f"{result.arm}: {100 * found.mean:.1f} percent {cost}",
            )
        )
    return points


def _ticks(counts: Sequence[int], x: Scale) -> tuple[Tick, ...]:
    """The label counts themselves, from the right, as far as they leave room for one another."""
    ticks: list[Tick] = []
    for labels in sorted(set(counts), reverse=True):
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
