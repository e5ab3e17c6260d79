"""One place of a pipeline over the seeds: a mean, the seeds around it, and the axis. Positions in percent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from reasoning_pipeline.report.charts import Scale, Tick, value_scale

TICK_GAP = 15.0
"""Least distance of two ticks, in percent of the axis."""


@dataclass(frozen=True, kw_only=True)
class SeedStrip:
    """One place of the pipeline: a mean over seeds, and each seed. Positions in percent.

    Example:
        SeedStrip(who="after Stage 2a", note="warmup", figure="0.041", spread="0.011 to 0.061", at=40.2, each=(9.8, …))
    """

    who: str
    note: str
    figure: str
    spread: str
    at: float
    each: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class SeedChart:
    title: str
    strips: tuple[SeedStrip, ...]
    ticks: tuple[Tick, ...]
    role: str


def log_scale(values: Sequence[float]) -> Scale:
    """Logarithmic where all are positive: a distance falls by a factor at each stage, not by an amount."""
    low, high = min(values), max(values)
    return Scale(low / 1.3, high * 1.3, log=True) if low > 0 else value_scale(values)


def apart(ticks: Sequence[Tick]) -> tuple[Tick, ...]:
    """As many of them as leave room for one another below a strip."""
    kept: list[Tick] = []
    for tick in ticks:
        if not kept or tick.at - kept[-1].at > TICK_GAP:
            kept.append(tick)
    return tuple(kept)


def strip(who: str, note: str, values: Sequence[float], scale: Scale, form: str) -> SeedStrip:
    middle = mean(values)
    spread = f"{min(values):{form}} to {max(values):{form}}" if len(values) > 1 else "one seed"
    return SeedStrip(
        who=who,
        note=note,
        figure=f"{middle:{form}}".replace("-", "−"),
        spread=spread.replace("-", "−"),
        at=scale.at(middle),
        each=tuple(scale.at(value) for value in values) if len(values) > 1 else (),
    )
