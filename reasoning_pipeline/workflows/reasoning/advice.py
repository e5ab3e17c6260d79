"""A recipe beside the map: its predictors, the cells nearest to it, and how far it is from all of them. No forecast."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.base.text import counted
from reasoning_pipeline.workflows.reasoning.pays import BEFORE, MapCell, known_before, placed, regression

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan
    from reasoning_pipeline.recipe.model import Recipe
    from reasoning_pipeline.statistics.regression import Fitted, Placed
    from reasoning_pipeline.workflows.reasoning.probe import Probe

FEW_CELLS = 12
"""Below, a regression of six predictors is a drawing and no finding."""
MAP_WORLD = (
    "left-to-right arithmetic, a token a character, models of 30 to 120 thousand parameters, answers of 20 tokens"
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A recipe's predictors and the map that they are held against."""

    recipe: str
    probe: Probe
    figures: dict[str, float]
    """Those of `BEFORE` that are known."""
    cells: Sequence[MapCell]
    place: Placed | None
    """None where there is no map."""
    fitted: Fitted | None
    world: str
    """What the recipe's own world is, in a few words."""


def placed_case(recipe: Recipe, measured: Plan, probe: Probe, cells: Sequence[MapCell]) -> Case:
    figures = known_before(
        start=probe.start,
        mixed=probe.mixed,
        labels=probe.labels,
        teacher_start=probe.teacher_start,
        teacher_size=probe.teacher_size or 1.0,
        kl_start=probe.kl_start,
    )
    if probe.teacher_size is None:
        del figures["log_teacher_size"]
    return Case(
        recipe=recipe.name,
        probe=probe,
        figures=figures,
        cells=cells,
        place=placed(cells, figures) if cells else None,
        fitted=regression(cells, list(figures)),
        world=_world(recipe, measured),
    )


def told(case: Case, shown: int) -> Iterator[str]:
    """Lines for a terminal: predictors beside the map's range, the nearest cells, the distance."""
    probe = case.probe
    yield f"{case.recipe}, measured on {probe.problems} problems of its labels' pool, {probe.samples} rollouts each:"
    yield f"  {'':58} {'here':>8}   the map's least to largest"
    for name, value in case.figures.items():
        column = [cell.figures[name] for cell in case.cells]
        among = f"{min(column):.2f} to {max(column):.2f}" if column else "no map"
        outside = "   outside" if case.place is not None and name in case.place.outside else ""
        yield f"  {BEFORE[name]:58} {value:8.2f}   {among}{outside}"
    if case.place is None:
        yield "there is no map to hold this against: python -m benchmarks.map run makes one, --map FILE names another"
        return
    yield f"nearest of {counted(len(case.cells), 'cell')}: workflow over direct GRPO, equal labels, both tuned, points"
    for row in case.place.nearest[:shown]:
        cell = case.cells[row]
        noise = ", noise" if cell.is_noise else ""
        yield (
            f"  {cell.name}: {100 * cell.gain:+.1f} [{100 * cell.low:+.1f}, {100 * cell.high:+.1f}]{noise} "
            f"({100 * cell.workflow:.1f} against {100 * cell.direct:.1f} %)"
        )
    yield from _distance(case)


def _distance(case: Case) -> Iterator[str]:
    assert case.place is not None
    place = case.place
    if len(case.cells) < FEW_CELLS:
        yield f"the map has {counted(len(case.cells), 'cell')} so far: too few to say what decides"
    elif case.fitted is not None:
        better = "better than" if case.fitted.tells else "no better than"
        yield (
            f"over the map these predictors tell a cell left out to {100 * case.fitted.error:.1f} points, {better} the "
            f"mean of the others ({100 * case.fitted.error_of_mean:.1f})"
        )
    how = (
        "farther than any cell is from its nearest" if place.distance > place.usual else "within the map's own spacing"
    )
    yield f"distance to the nearest: {place.distance:.1f} standard deviations, {how} ({place.usual:.1f})"
    yield f"the map's world: {MAP_WORLD}"
    yield f"yours: {case.world}"
    if place.extrapolates:
        yield "Your case is not on the map; nothing here says what would happen there."
    else:
        yield "In these figures your case is on the map. That its world behaves as yours does is not known."


def as_json(case: Case) -> str:
    """The same for programs."""
    nearest = [case.cells[row].name for row in case.place.nearest] if case.place is not None else []
    found: dict[str, Any] = {
        "recipe": case.recipe,
        "probe": asdict(case.probe),
        "predictors": case.figures,
        "cells": len(case.cells),
        "nearest": nearest,
        "outside": list(case.place.outside) if case.place is not None else [],
        "distance": case.place.distance if case.place is not None else None,
        "usual_distance": case.place.usual if case.place is not None else None,
        "extrapolates": case.place.extrapolates if case.place is not None else None,
        "error": case.fitted.error if case.fitted is not None else None,
        "error_of_mean": case.fitted.error_of_mean if case.fitted is not None else None,
        "world": case.world,
    }
    return json.dumps(found, indent=2)


def _world(recipe: Recipe, measured: Plan) -> str:
    from reasoning_pipeline.estimates.shapes import shape_of_input
    from reasoning_pipeline.workflows.reasoning.probe import ASKED

    step = next(step for step in measured.steps if step.name.partition("@")[0] == ASKED)
    shape = shape_of_input(measured, step, "start")
    student = f"a student of {shape.parameters:,} parameters" if shape is not None else "a student of unknown size"
    limit = step.config.max_completion_tokens  # type: ignore[attr-defined]
    return f"{', '.join(recipe.data)}; {student}, answers of at most {limit:,} tokens"
