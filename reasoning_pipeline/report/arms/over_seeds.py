"""The main arm over its seeds: what workflows measure along the pipeline, and how its training went.

The page shows one seed step by step; what is drawn here says whether the others went the same way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.report.answers import read_rows
from reasoning_pipeline.report.arms.strips import SeedChart
from reasoning_pipeline.report.charts import Point, finite, number, path, thinned, value_scale
from reasoning_pipeline.report.curves import SHARES, TITLES, Layer, Plot, steps_scale, steps_ticks
from reasoning_pipeline.report.parts import PagePart, parts
from reasoning_pipeline.report.results import roles

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan, PlannedArm


@dataclass(frozen=True, kw_only=True)
class OverSeeds:
    seeds: tuple[int, ...]
    strips: tuple[tuple[PagePart, tuple[SeedChart, ...]], ...]
    training: tuple[tuple[str, Plot], ...]
    """(role, plot), in the order of the pipeline."""


def over_seeds(plan: Plan) -> OverSeeds | None:
    """None where neither anything was measured nor anything trained."""
    from reasoning_pipeline.recipe.model import MAIN

    arms = [arm for arm in plan.arms if arm.name == MAIN]
    strips = tuple((part, charts) for part in parts() if (charts := tuple(part.strips(plan, arms))))
    inside = dict.fromkeys(name for arm in arms for name in arm.steps)
    training = tuple(found for name in inside for found in _step_plots(plan, arms, name))
    if not strips and not training:
        return None
    return OverSeeds(seeds=tuple(arm.seed for arm in arms), strips=strips, training=training)


# Training


def _step_plots(plan: Plan, arms: Sequence[PlannedArm], inside: str) -> Iterator[tuple[str, Plot]]:
    steps = [plan.step(arm.steps[inside]) for arm in arms if inside in arm.steps]
    config = type(steps[0].config)
    rows = [list(read_rows(s.artifact.folder / "metrics.jsonl")) for s in steps if s.artifact and config.followed]
    for metric in config.followed:
        lines = [line for one in rows if (line := _line(one, metric))]
        if lines:
            title = (TITLES | config.metric_titles)[metric]
            yield roles(plan)[steps[0].name], _plot(f"{inside}: {title}", lines, share=metric in SHARES)


def _line(rows: Sequence[Mapping[str, Any]], metric: str) -> list[Point]:
    points = [(float(r["step"]), float(r[metric])) for r in rows if finite(r.get("step")) and finite(r.get(metric))]
    return points if len(points) > 1 else []


def _plot(title: str, lines: Sequence[Sequence[Point]], *, share: bool) -> Plot:
    """One thin line a seed; the bold one is their mean at the steps that all of them have."""
    by_step: dict[float, list[float]] = defaultdict(list)
    for line in lines:
        for step, value in dict(line).items():
            by_step[step].append(value)
    middle = [(step, mean(values)) for step, values in sorted(by_step.items()) if len(values) == len(lines)]
    drawn = [thinned(line) for line in lines]
    x = steps_scale(sorted((step, 0.0) for step in by_step))
    y = value_scale([value for line in drawn for _, value in line], share=share)
    each = [Layer(kind="each", path=path(line, x, y)) for line in drawn] if len(lines) > 1 else []
    layers = [*each, Layer(kind="mean", path=path(thinned(middle), x, y))]
    spoken = f"{title}, mean of {len(lines)} seeds"
    if middle:
        (first, at_first), (last, at_last) = middle[0], middle[-1]
        spoken += f": {number(at_first)} at step {number(first)}, {number(at_last)} at step {number(last)}"
    return Plot(title=title, spoken=spoken, layers=tuple(layers), x_ticks=steps_ticks(x), y_ticks=y.ticks(), log=y.log)
