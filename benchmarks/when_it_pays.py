"""docs/when_it_pays.md, written from docs/figures/map.csv by `make figures`: as many cells as there are, and no others.

Every figure on the page is counted or fitted here; what the sentences between them say holds for any map.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks.figure_tables import FIGURES, shown
from benchmarks.map_cells import declared, name_of, ordered
from reasoning_pipeline.base.text import counted
from reasoning_pipeline.statistics.regression import LEAST_ROWS, Fitted
from reasoning_pipeline.workflows.reasoning.advice import FEW_CELLS
from reasoning_pipeline.workflows.reasoning.pays import AFTER, BEFORE, WORKFLOW, MapCell, read_map, regression

PAGE = Path("docs") / "when_it_pays.md"
SOURCE, CEILINGS = FIGURES / "map.csv", FIGURES / "map_ceilings.csv"

SATURATED = 0.85
"""Accuracy above which a world leaves the arms too little room."""

OPENING = """# When does it pay?

Spending labels on a larger teacher and carrying its gain to the student, or spending them on the student itself? The
published comparison is one point, the miniature (docs/evidence.md) another. This page maps between them: cells of a
small world in which neither side saturates, at each the whole workflow against direct GRPO with the same labels, both
tuned there on validation. It is written by `make figures` from docs/figures/map.csv, a row a cell and arm.
"""

NONE_YET = """No cell has been run yet: here is how, and nothing is claimed.
"""

METHOD = """## How a cell is run

benchmarks/map.yaml declares the cells and their order, recipes/map.yaml and recipes/map_search.yaml what a cell is; all
three were fixed before the first was run, and rows of another definition are refused. The order takes the cell farthest
from those done, so that the width of the map is known early.

```
python -m benchmarks.map plan                       # cells in their order, hours
python -m benchmarks.map run --hours 2              # the next cells; again, it continues
make figures                                        # this page and its picture
```

Axes: difficulty, labels, the teacher's size over the student's, and how far the student was pretrained. At each cell
map_search.yaml tunes direct GRPO (learning rate, passes) and the workflow (passes of Stage 1) under two seeds; three
other seeds then run the best of each on the test set. An arm makes the same optimizer steps whatever the labels.
Predictors are measured as `advise` measures them: 32 problems of the labels' pool, eight rollouts each, before any
reward.

`python -m reasoning_pipeline advise RECIPE` measures the same of a recipe of yours, before any training, and prints it
beside the map: which cells are nearest, and how far away they are. It forecasts nothing.

"""

WORLDS = """## Worlds that do not saturate

![Greedy accuracy of models of several sizes in two worlds, trained on unlimited solutions](figures/map_ceilings.svg)

What a size can learn at all: supervised training on unlimited right solutions, one seed, no reward
(`python -m benchmarks.ceilings`, docs/figures/map_ceilings.csv). The student is the smallest of the sizes. Percent
correct at the end of each curve:
"""

LIMITS = """## Limits

One task, a token a character, models of 30 to 120 thousand parameters, short answers, a verifier that cannot err. A
cell has three seeds: its interval is wide, and about one cell in twenty would leave it by chance alone. Two settings of
the workflow and four of the baseline are tried at a cell; wider searches would move both.
"""


def page(project: Path) -> tuple[Path, str]:
    """(path, text)"""
    source = project / SOURCE
    cells = read_map(source) if source.is_file() else []
    found = [*_answer(cells), *_picture(), *_cells(cells, source), *_deciding(cells)] if cells else [NONE_YET]
    worlds = [WORLDS, *_ends(project / CEILINGS)] if (project / CEILINGS).is_file() else []
    return project / PAGE, "\n".join([OPENING, *found, METHOD, *worlds, LIMITS])


def _ends(path: Path) -> Iterator[str]:
    """What the curves came to, and whether it is what the map's worlds are meant to be."""
    with path.open(encoding="utf-8", newline="") as file:
        ends = {(row["world"], int(row["parameters"])): float(row["accuracy"]) for row in csv.DictReader(file)}
    worlds, sizes = (list(dict.fromkeys(key[place] for key in ends)) for place in (0, 1))
    yield f"| world | {' | '.join(f'{size:,} parameters' for size in sizes)} |"
    yield "|" + "---|" * (1 + len(sizes))
    for world in worlds:
        yield f"| {world} | {' | '.join(shown(ends[world, size], '.1p') for size in sizes if (world, size) in ends)} |"
    student = max(ends[world, sizes[0]] for world in worlds)
    below = "stays below" if student < SATURATED else "passes"
    yield f"\nThe student {below} {100 * SATURATED:.0f} %."
    rises = [
        all(ends[world, a] < ends[world, b] for a, b in pairwise(size for size in sizes if (world, size) in ends))
        for world in worlds
    ]
    if all(rises):
        yield "A larger model ends higher in every world: size is what limits the student.\n"
    else:
        yield (
            "A larger model does not end higher in every world, so at this length of training it is not shown that "
            "size is\nwhat limits the student: the axis of the teacher's size may stand for little.\n"
        )


def _answer(cells: Sequence[MapCell]) -> Iterator[str]:
    ahead = [cell for cell in cells if cell.low > 0]
    behind = [cell for cell in cells if cell.high < 0]
    run, all_cells = len(cells), len(ordered(declared()))
    mean = sum(cell.gain for cell in cells) / run
    yield "## In short\n"
    yield (
        f"- {counted(run, 'cell')} of {all_cells} run: the workflow is ahead beyond noise in {len(ahead)}, behind in "
        f"{len(behind)}, and {run - len(ahead) - len(behind)} are within noise. The mean difference is "
        f"{_points(mean)} points, from {_points(min(c.gain for c in cells))} to {_points(max(c.gain for c in cells))}."
    )
    highest = max(max(cell.workflow, cell.direct) for cell in cells)
    yield f"- The best arm of any cell stands at {shown(highest, '.1p')} %."
    fitted = regression(cells, list(BEFORE))
    if fitted is None or run < FEW_CELLS:
        yield f"- What decides cannot be said from {counted(run, 'cell')}; the figures below are there to be seen.\n"
        return
    names = [
        BEFORE[name] for name, low, high in zip(fitted.names, fitted.low, fitted.high, strict=True) if low * high > 0
    ]
    decides = ", ".join(names) if names else "none"
    better = "better than" if fitted.tells else "no better than"
    yield (
        f"- Of what can be known before training, these have a sign that resampled cells agree on: {decides}. A cell "
        f"left out is predicted to {shown(fitted.error, '.1p')} points, {better} by the mean of the others "
        f"({shown(fitted.error_of_mean, '.1p')}).\n"
    )


def _picture() -> Iterator[str]:
    yield "![Difference between the workflow and direct GRPO in every cell, with intervals](figures/map.svg)\n"
    yield (
        "Points by which the workflow's test accuracy exceeds direct GRPO's, with 95 % intervals over problems and "
        "seeds; hatched where\nthe interval holds 0, empty where a cell was not run.\n"
    )


def _cells(cells: Sequence[MapCell], source: Path) -> Iterator[str]:
    with source.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    minutes = {(row["cell"], row["arm"]): row["cpu_minutes"] for row in rows}
    yield "## Cells, in the order they were run\n"
    heads = ("cell", "start", "mixed", "C1", "KL before → after", "workflow", "direct", "difference", "CPU min, both")
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for cell in cells:
        row = next(row for row in rows if row["cell"] == cell.name and row["arm"] == WORKFLOW)
        spent = " / ".join(
            shown(float(value), ".1f") if value else "–"
            for value in (minutes[cell.name, WORKFLOW], minutes[cell.name, "direct"])
        )
        figures = (
            f"`{cell.name}`",
            shown(cell.figures["start"], ".1p"),
            shown(cell.figures["mixed"], ".0p"),
            shown(cell.figures["c1_gain"], "+.1p"),
            f"{float(row['kl_before']):.3f} → {float(row['kl_after']):.3f}",
            shown(cell.workflow, ".1p"),
            shown(cell.direct, ".1p"),
            f"{_points(cell.gain)} [{_points(cell.low)}, {_points(cell.high)}]",
            spent,
        )
        yield f"| {' | '.join(figures)} |"
    run = {cell.name for cell in cells}
    left = [name_of(cell) for cell in ordered(declared()) if name_of(cell) not in run]
    yield ""
    yield (
        "Start, share of mixed groups, C1 and accuracies in percent or points; KL in nats a token; CPU minutes a seed "
        "after the base models."
    )
    yield f"\nNot run: {', '.join(f'`{name}`' for name in left)}.\n" if left else "\nEvery cell was run.\n"


def _deciding(cells: Sequence[MapCell]) -> Iterator[str]:
    yield "## What decides\n"
    found = {"before any training": regression(cells, list(BEFORE)), "afterwards": regression(cells, list(AFTER))}
    if any(fitted is None for fitted in found.values()):
        yield f"A regression over cells needs {LEAST_ROWS} of them, and means something from {FEW_CELLS} on.\n"
        return
    yield (
        "A ridge regression of the difference over cells: points for one standard deviation of a predictor, the others "
        "held, with\nintervals from cells drawn anew. The error is of cells left out of everything; beside it that of "
        "the mean of the others.\n"
    )
    if len(cells) < FEW_CELLS:
        yield f"With {counted(len(cells), 'cell')} this is a drawing and no finding.\n"
    for when, fitted in found.items():
        assert fitted is not None
        yield from _regression(when, fitted, {**BEFORE, **AFTER})


def _regression(when: str, fitted: Fitted, words: dict[str, str]) -> Iterator[str]:
    yield f"| known {when} | points | 95 % |"
    yield "|---|---|---|"
    for name, value, low, high in zip(fitted.names, fitted.coefficients, fitted.low, fitted.high, strict=True):
        yield f"| {words[name]} | {_points(value)} | [{_points(low)}, {_points(high)}] |"
    better = "better than" if fitted.tells else "no better than"
    yield (
        f"\nError on a cell left out: {shown(fitted.error, '.1p')} points, {better} the mean of the others: "
        f"{shown(fitted.error_of_mean, '.1p')}.\n"
    )


def _points(share: float) -> str:
    return shown(share, "+.1p")
