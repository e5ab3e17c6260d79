"""Numbers -> geometry for SVG: scales, ticks, paths. Everything is in percent of the plot area, so that a drawing
stretches with the page while its text keeps its size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from typing import TypeGuard

MOST_POINTS = 240
"""Points drawn per line; longer series are averaged down to this."""

PARTS = 4
"""At most this many parts between the ticks of a plot."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Tick:
    at: float
    """Percent of the axis, from its low end."""
    label: str


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """Percent of the way from low to high, clipped to the axis."""
        low, high, value = (log10(v) if self.log else v for v in (self.low, self.high, value))
        return round(100 * min(1.0, max(0.0, (value - low) / (high - low))), 2)

    def ticks(self, parts: int = PARTS) -> tuple[Tick, ...]:
        values = _log_ticks(self.low, self.high) if self.log else _linear_ticks(self.low, self.high, parts)
        return tuple(Tick(self.at(value), number(value)) for value in values)


def value_scale(values: Sequence[float], *, share: bool = False) -> Scale:
    """Its linear ends are round and include zero; logarithmic where positive values span more than a factor of 30.

    Shares that never leave the top quarter begin there: 0.94 to 0.97 would be a flat line below one.
    """
    low, high = min(values), max(values)
    if share:
        if (room := next((room for room in (0.05, 0.1, 0.25) if low >= 1 - room), None)) is not None and low < high:
            return Scale(1 - room, 1.0)
        high = 1.0 if high > 0.5 else max(high, 0.05)
    elif low > 0 and high / low > 30:
        return Scale(low, high, log=True)
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        return Scale(0.0, 1.0)
    step = _step(low, high, PARTS)
    return Scale(step * floor(low / step + 1e-9), step * ceil(high / step - 1e-9))


def accuracy_scale(highest: float) -> Scale:
    """From 0 to a round share that holds the highest interval, at least 5 %."""
    return Scale(0.0, next((top for top in (0.05, 0.1, 0.25, 0.5) if highest <= top), 1.0))


def percent_ticks(scale: Scale) -> tuple[Tick, ...]:
    """`0 20 40 60 80 100 %`."""
    ticks = [Tick(tick.at, f"{scale.high * tick.at:g}") for tick in scale.ticks(parts=5)]
    return (*ticks[:-1], Tick(ticks[-1].at, f"{ticks[-1].label} %"))


def path(points: Sequence[Point], x: Scale, y: Scale) -> str:
    """An SVG path in a 100 by 100 box, y upwards."""
    return "M" + "L".join(f"{x.at(px):g} {100 - y.at(py):g}" for px, py in points) if points else ""


def band(lower: Sequence[Point], upper: Sequence[Point], x: Scale, y: Scale) -> str:
    """The area between two lines over the same steps."""
    return path([*upper, *reversed(lower)], x, y) + "Z" if upper else ""


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most `most` points: means of equal runs of neighbours."""
    run = ceil(len(points) / most) if points else 1
    return [_mean(points[i : i + run]) for i in range(0, len(points), run)]


def smoothed(points: Sequence[Point], window: int) -> list[Point]:
    """Centred moving mean; fewer neighbours at the ends."""
    half = window // 2
    return [(x, _mean(points[max(0, i - half) : i + half + 1])[1]) for i, (x, _) in enumerate(points)]


def number(value: float) -> str:
    """Short and readable: `0.25`, `1,200`, `5e-4`, `−0.02`."""
    size = abs(value)
    if size == 0:
        text = "0"
    elif size >= 1e6:
        text = f"{size / 1e6:.3g} M"
    elif size >= 1000:
        text = f"{size:,.0f}"
    elif size < 1e-3:
        mantissa, exponent = f"{size:.1e}".split("e")
        text = f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    else:
        text = f"{size:.3g}"
    return f"−{text}" if value < 0 else text


def finite(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _mean(points: Sequence[Point]) -> Point:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def _linear_ticks(low: float, high: float, parts: int) -> list[float]:
    step = _step(low, high, parts)
    first = ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, floor(high / step + 1e-9) + 1)]


def _step(low: float, high: float, parts: int) -> float:
    """The smallest round step that makes at most `parts` parts."""
    least = (high - low) / parts
    power = 10.0 ** floor(log10(least))
    return next(m for m in (1, 2, 2.5, 5, 10) if least / power <= m + 1e-9) * power


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, with 2 and 5 between them where that leaves at most six."""
    tens = [10.0**e for e in range(floor(log10(low)), ceil(log10(high)) + 1)]
    fine = [mantissa * ten for ten in tens for mantissa in (1, 2, 5) if low <= mantissa * ten <= high]
    coarse = [ten for ten in tens if low <= ten <= high]
    return fine if len(fine) <= 6 else coarse[:: ceil(len(coarse) / 6)]
