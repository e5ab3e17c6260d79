"""What benchmarks/map.yaml declares: the axes of the map, its cells in their order, and each cell's recipes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from benchmarks.shared import PROJECT
from reasoning_pipeline.base.fingerprint import digest
from reasoning_pipeline.base.yaml_files import read_with_parents, read_yaml

if TYPE_CHECKING:
    from reasoning_pipeline.data.arithmetic import ArithmeticWorld
    from reasoning_pipeline.recipe.model import Recipe

DECLARED = PROJECT / "benchmarks" / "map.yaml"
RECIPE, SEARCH = PROJECT / "recipes" / "map.yaml", PROJECT / "recipes" / "map_search.yaml"


class Tuned(BaseModel):
    """How one arm is tuned: the best of some arms of the search decides fields of a step."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    among: str
    """A regular expression of the arms' names."""
    step: str
    fields: list[str]
    into: str
    """Where these fields stand in the cell's recipe."""


class Declared(BaseModel):
    """benchmarks/map.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    axes: dict[str, dict[str, dict[str, Any]]]
    """Axis -> level -> the changes that it makes, as `--set` writes them."""
    first: dict[str, str]
    tuned: dict[str, Tuned]
    seconds: dict[str, float]
    """Stage -> seconds of one optimizer step, or of a whole step that has none, until the registry knows better."""


Cell = dict[str, str]
"""Axis -> level."""


def name_of(cell: Cell) -> str:
    """`near_l256_t2_s25`."""
    return f"{cell['difficulty']}_l{cell['labels']}_t{cell['teacher']}_s{cell['student']}"


def declared() -> Declared:
    return Declared.model_validate(read_yaml(DECLARED))


def definition() -> str:
    """Of the map: rows that were made under another one are not mixed with its own."""
    axes = {key: value for key, value in read_yaml(DECLARED).items() if key != "seconds"}
    return digest([axes, read_with_parents(RECIPE), read_with_parents(SEARCH)])[:12]


def ordered(found: Declared) -> list[Cell]:
    """All cells, each the farthest from those before it, so that the map's width is known early; ties as declared."""
    cells: list[Cell] = [{}]
    for axis, levels in found.axes.items():
        cells = [{**cell, axis: level} for cell in cells for level in levels]
    places = {axis: {level: n / max(1, len(levels) - 1) for n, level in enumerate(levels)} for axis, levels in
              found.axes.items()}  # fmt: skip

    def distance(one: Cell, other: Cell) -> float:
        return sum((places[axis][one[axis]] - places[axis][other[axis]]) ** 2 for axis in places)

    order = [next(cell for cell in cells if cell == found.first)]
    left = [cell for cell in cells if cell != found.first]
    while left:
        order.append(max(left, key=lambda cell: min(distance(cell, done) for done in order)))
        left.remove(order[-1])
    return order


def world_of(difficulty: str) -> ArithmeticWorld:
    """The world of a level of difficulty."""
    levels = {axis: next(iter(levels)) for axis, levels in declared().axes.items()} | {"difficulty": difficulty}
    return recipe_of(levels, RECIPE).data["problems"].world


def recipe_of(cell: Cell, path: Path, settings: Sequence[str] = ()) -> Recipe:
    """A cell's recipe, or that of its search.

    Args:
        settings: What the search chose, as `--set` writes it.
    """
    from reasoning_pipeline.recipe.reading import load_recipe

    searching = path == SEARCH
    changes = {key: value for axis, level in cell.items() for key, value in declared().axes[axis][level].items()}
    suite = changes.pop("suite")
    overrides = [f"{key}={value}" for key, value in changes.items()]
    overrides += [f"evaluate.suites=[{suite}{'_validation' if searching else ''}]"]
    overrides += [f"name={name_of(cell)}{'_search' if searching else ''}"]
    return load_recipe(path, [*overrides, *settings])
