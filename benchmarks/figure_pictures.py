"""Pictures that documents show, drawn from the CSVs in docs/figures: arms, accuracy against labels, the map.

    docs/figures/miniature_arms.csv   ->  docs/figures/miniature_arms.svg
    docs/figures/labels_arms.csv      ->  docs/figures/labels_arms.svg
    docs/figures/map.csv              ->  docs/figures/map.svg
    docs/figures/map_ceilings.csv     ->  docs/figures/map_ceilings.svg

The same CSV gives the same bytes: no date, fixed ids, text as text. `make figures` draws them.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.figure_tables import FIGURES
from benchmarks.map_cells import declared

SAME_POINTS = 0.05
"""Positions nearer than this, in points of 1/72 inch, are the same."""

_NUMBER = re.compile(r"-?\d+\.\d+")

SUITES = {"arithmetic": "test", "arithmetic_hard": "harder"}
MAIN = "main"
INK, SOFT, ACCENT, SECOND = "#1b1d21", "#5d636d", "#0b62a4", "#a9530b"
SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "figures",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": "#dcdad4",
    "axes.labelcolor": SOFT,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def pictures(project: Path) -> Iterator[tuple[Path, str]]:
    """(path, SVG) of every picture whose CSV is there."""
    for name, picture in PICTURES.items():
        source = project / FIGURES / f"{name}.csv"
        if source.is_file():
            with source.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            yield source.with_suffix(".svg"), _svg(picture, rows)


def alike(one: str, other: str) -> bool:
    """Equal but for the last digits of positions, which may differ from one processor to another."""
    if _NUMBER.sub("", one) != _NUMBER.sub("", other):
        return False
    pairs = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    return all(abs(float(a) - float(b)) < SAME_POINTS for a, b in pairs)


Rows = list[dict[str, str]]


class Picture(NamedTuple):
    """How a CSV becomes a picture."""

    draw: Callable[[Any, Rows], None]
    """Told the panels, as pyplot.subplots gives them, and the lines."""
    panels: tuple[int, int]
    """Rows and columns."""
    height: Callable[[Rows], float]
    """Inches."""


def _svg(picture: Picture, rows: Rows) -> str:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with matplotlib.rc_context(SETTINGS):
        size = (8.2, picture.height(rows))
        figure, axes = pyplot.subplots(*picture.panels, figsize=size, sharey=True, layout="constrained")
        picture.draw(axes, rows)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        pyplot.close(figure)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _arms(axes: Any, rows: list[dict[str, str]]) -> None:
    """A row an arm, in the file's order: mean, 95 % interval, single seeds as rings; the main arm's mean as a line."""
    for axis, (suite, title) in zip(axes, SUITES.items(), strict=True):
        mine = [row for row in rows if row["suite"] == suite]
        names = [row["arm"] for row in mine]
        for place, row in enumerate(mine):
            colour = ACCENT if row["arm"] == MAIN else SOFT
            mean, low, high = (100 * float(row[column]) for column in ("mean", "low", "high"))
            axis.plot([low, high], [place, place], color=colour, linewidth=1.4)
            seeds = [100 * float(value) for value in row["by_seed"].split()]
            axis.plot(seeds, [place] * len(seeds), "o", markersize=3, markerfacecolor="none", color=colour, alpha=0.55)
            axis.plot([mean], [place], "o" if row["arm"] == MAIN else "s", markersize=5, color=colour)
            axis.annotate(f"{mean:.1f}", (102, place), va="center", annotation_clip=False, fontsize=8)
        main = next(100 * float(row["mean"]) for row in mine if row["arm"] == MAIN)
        axis.axvline(main, color=ACCENT, linewidth=0.8, linestyle=":")
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.set_xlim(0, 100)
        axis.grid(axis="x", color="#e9e7e1", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.tick_params(length=0)
        axis.set_xlabel(f"{title}, percent correct")


def _curves(axes: Any, rows: list[dict[str, str]]) -> None:
    """Accuracy against labels, a line a curve with its 95 % intervals; the axis of labels is logarithmic."""
    for axis, (suite, title) in zip(axes, SUITES.items(), strict=True):
        mine = [row for row in rows if row["suite"] == suite and row["curve"]]
        for name, colour in zip(sorted({row["curve"] for row in mine}), (SECOND, ACCENT), strict=False):
            line = sorted((row for row in mine if row["curve"] == name), key=lambda row: int(row["labels"]))
            labels = [int(row["labels"]) for row in line]
            means, lows, highs = ([100 * float(row[c]) for row in line] for c in ("mean", "low", "high"))
            axis.plot(labels, means, "o-", color=colour, markersize=4, linewidth=1.4, label=name)
            axis.vlines(labels, lows, highs, color=colour, linewidth=1, alpha=0.6)
        counts = sorted({int(row["labels"]) for row in mine})
        axis.set_xscale("log", base=2)
        axis.set_xticks(counts, [f"{count:,}" for count in counts])
        axis.minorticks_off()
        axis.set_ylim(0, 100)
        axis.grid(axis="y", color="#e9e7e1", linewidth=0.6)
        axis.tick_params(length=0)
        axis.set_xlabel(f"labels ({title})")
    axes[0].set_ylabel("percent correct")
    axes[0].legend(frameon=False, loc="lower right")


def _map(axes: Any, rows: Rows) -> None:
    """A panel for each difficulty and teacher, a field for each student and label count: points of difference."""
    from matplotlib.patches import Rectangle

    axes_of = declared().axes
    cells = {tuple(row[axis] for axis in axes_of): row for row in rows if row["arm"] == "workflow"}
    largest = max(0.05, *(abs(float(row["gain"])) for row in cells.values()))
    for (difficulty, teacher), axis in zip(
        product(axes_of["difficulty"], axes_of["teacher"]), axes.flatten(), strict=True
    ):
        for (x, labels), (y, student) in product(enumerate(axes_of["labels"]), enumerate(axes_of["student"])):
            row = cells.get((difficulty, labels, teacher, student))
            if row is None:
                axis.add_patch(Rectangle((x, y), 1, 1, facecolor="white", edgecolor="#dcdad4", linewidth=0.6))
                continue
            gain, low, high = (float(row[column]) for column in ("gain", "gain_low", "gain_high"))
            noise = not (low > 0 or high < 0)
            axis.add_patch(
                Rectangle((x, y), 1, 1, facecolor=_shade(gain / largest), hatch="////" if noise else None,
                          edgecolor="#c9c6be" if noise else "#dcdad4", linewidth=0.6)
            )  # fmt: skip
            axis.text(x + 0.5, y + 0.4, f"{100 * gain:+.0f}", ha="center", va="center", fontsize=9)
            interval = f"[{100 * low:+.0f}, {100 * high:+.0f}]"
            axis.text(x + 0.5, y + 0.72, interval, ha="center", va="center", fontsize=6.5)
        axis.set_xlim(0, len(axes_of["labels"]))
        axis.set_ylim(len(axes_of["student"]), 0)
        axis.set_xticks([n + 0.5 for n in range(len(axes_of["labels"]))], list(axes_of["labels"]))
        axis.set_yticks([n + 0.5 for n in range(len(axes_of["student"]))], [f"{s} %" for s in axes_of["student"]])
        axis.tick_params(length=0)
        axis.set_title(f"{difficulty}, teacher {teacher} x", fontsize=9, color=SOFT)
    for axis in axes[-1]:
        axis.set_xlabel("labels")
    for axis in axes[:, 0]:
        axis.set_ylabel("student pretrained to")


def _shade(share: float) -> tuple[float, float, float]:
    """White at 0, towards the one colour where the workflow is ahead, towards the other where it is behind."""
    from matplotlib.colors import to_rgb

    weight = 0.75 * min(1.0, abs(share))
    return tuple(1 - weight * (1 - part) for part in to_rgb(ACCENT if share > 0 else SECOND))  # type: ignore[return-value]


def _ceilings(axes: Any, rows: Rows) -> None:
    """Accuracy while trained on unlimited worked solutions, a line for each size, a panel for each world."""
    shades = ("#a9530b", "#7a7f88", "#0b62a4", "#1b1d21")
    for axis, world in zip(axes, dict.fromkeys(row["world"] for row in rows), strict=True):
        mine = [row for row in rows if row["world"] == world]
        for parameters, colour in zip(dict.fromkeys(row["parameters"] for row in mine), shades, strict=False):
            line = [row for row in mine if row["parameters"] == parameters]
            label = f"{int(parameters):,} parameters"
            steps, accuracies = ([float(row[c]) for row in line] for c in ("step", "accuracy"))
            axis.plot(steps, [100 * a for a in accuracies], color=colour, linewidth=1.3, label=label)
        axis.set_title(world, fontsize=9, color=SOFT)
        axis.set_ylim(0, 100)
        axis.grid(axis="y", color="#e9e7e1", linewidth=0.6)
        axis.tick_params(length=0)
        axis.set_xlabel("optimizer steps")
    axes[0].set_ylabel("percent correct, greedy")
    axes[0].legend(frameon=False, loc="lower right", fontsize=8)


PICTURES = {
    "miniature_arms": Picture(_arms, (1, len(SUITES)), lambda rows: 0.8 + 0.27 * len({row["arm"] for row in rows})),
    "labels_arms": Picture(_curves, (1, len(SUITES)), lambda rows: 3.2),
    "map": Picture(_map, (2, 3), lambda rows: 5.6),
    "map_ceilings": Picture(_ceilings, (1, 2), lambda rows: 3.2),
}
