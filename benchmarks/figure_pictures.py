"""Pictures that documents show, drawn from the CSVs in docs/figures: arms with intervals, accuracy against labels.

    docs/figures/miniature_arms.csv   ->  docs/figures/miniature_arms.svg
    docs/figures/labels_arms.csv      ->  docs/figures/labels_arms.svg

The same CSV gives the same bytes: no date, fixed ids, text as text. `make figures` draws them.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.figure_tables import FIGURES

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
    for name, draw in PICTURES.items():
        source = project / FIGURES / f"{name}.csv"
        if source.is_file():
            with source.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            yield source.with_suffix(".svg"), _svg(draw, rows)


def alike(one: str, other: str) -> bool:
    """Equal but for the last digits of positions, which may differ from one processor to another."""
    if _NUMBER.sub("", one) != _NUMBER.sub("", other):
        return False
    pairs = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    return all(abs(float(a) - float(b)) < SAME_POINTS for a, b in pairs)


def _svg(draw: Callable[[Any, list[dict[str, str]]], None], rows: list[dict[str, str]]) -> str:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with matplotlib.rc_context(SETTINGS):
        height = 0.8 + 0.27 * len({row["arm"] for row in rows}) if draw is _arms else 3.2
        figure, axes = pyplot.subplots(1, len(SUITES), figsize=(8.2, height), sharey=True, layout="constrained")
        draw(axes, rows)
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


PICTURES = {"miniature_arms": _arms, "labels_arms": _curves}
