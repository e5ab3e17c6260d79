"""docs/figures/measured.csv: a row for each measured figure that a document shows; the writer that benchmarks share.

A benchmark calls `add_option(parser)` and `save(arguments.save, figures)`; its `--save` then updates the rows of its
figures with value, command, machine and date. What no document shows gets no row.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import platform
import re
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path

from benchmarks.markers import PROJECT, used_names
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.registry.provenance import cpu_model

FIGURES = Path("docs") / "figures"
MEASURED = FIGURES / "measured.csv"
ON_PURPOSE = "unused:"
"""A note that begins so says why a row is kept that no document shows."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a program found under a name.

    Example:
        Found(name="limits.help", value=0.061, unit="s", limit=0.5)
    """

    name: str
    value: float
    unit: str = ""
    limit: float | None = None
    """In the same unit; documents name it as `limits.help.limit`."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of measured.csv.

    Example:
        Row(name="limits.help", value=0.061, unit="s", format=".2f", limit=0.5, command="python -m benchmarks.limits",
            machine="2 cores of an AMD EPYC, 24 GiB, no GPU, Python 3.11", date="2026-11-21", note="")
    """

    name: str
    value: float
    unit: str
    format: str
    """How a document shows it: Python's format, or `.1p` for a share in percent."""
    limit: float | None
    command: str
    machine: str
    date: str
    note: str

    def shown(self) -> str:
        return shown(self.value, self.format)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """How a figure came about."""

    command: str
    machine: str
    date: str


COLUMNS = tuple(field.name for field in fields(Row))


def shown(value: float, form: str) -> str:
    """0.584 in `.1p` is 58.4, 5.1e-6 in `.0e` is 5e-6, 0.0002 in `pvalue` is < 0.001; else as Python's format says."""
    if form == "pvalue":
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    if form.endswith("p"):
        return format(100 * value, f"{form[:-1]}f")
    text = format(value, form)
    if form.endswith("e"):
        return "0" if value == 0 else re.sub(r"e([+-])0+(?=\d)", r"e\1", text)
    return text


def row_name(name: str) -> str:
    """The row that a document's name is about: `limits.help` of `limits.help.limit` and `limits.help.date`."""
    return name.removesuffix(".limit").removesuffix(".date")


def read(project: Path = PROJECT) -> dict[str, Row]:
    """Name -> row. Raises DataError with file, line and what was expected."""
    path = project / MEASURED
    rows: dict[str, Row] = {}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise DataError(f"{MEASURED}: columns {reader.fieldnames}", remedy=f"expected: {','.join(COLUMNS)}")
        for number, cells in enumerate(reader, 2):
            place = f"{MEASURED}:{number}: {cells['name']}"
            if cells["name"] in rows:
                raise DataError(f"{place}: stands there twice", remedy="keep one of the two rows")
            try:
                value, limit = float(cells["value"]), float(cells["limit"]) if cells["limit"] else None
                rows[cells["name"]] = row = Row(**{**cells, "value": value, "limit": limit})  # type: ignore[arg-type]
                row.shown()
            except (TypeError, ValueError) as error:
                remedy = "value and limit are numbers, format is Python's (.1f) or .1p for a share in percent"
                raise DataError(f"{place}: {error}", remedy=remedy) from error
    return rows


def write(rows: dict[str, Row], project: Path = PROJECT) -> None:
    """Sorted by name, so that a change is a change of lines."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name in sorted(rows):
        cells = [getattr(rows[name], column) for column in COLUMNS]
        writer.writerow("" if c is None else f"{c:.6g}" if isinstance(c, float) else c for c in cells)
    (project / MEASURED).write_text(text.getvalue(), encoding="utf-8")


def update(found: Iterable[Found], origin: Origin, note: str = "", project: Path = PROJECT) -> list[str]:
    """Store those figures that have a row or stand in a document; returns their names."""
    rows = read(project)
    used = used_names(project)
    wanted = rows.keys() | used | {row_name(name) for name in used}
    stored = []
    for figure in found:
        if figure.name not in wanted:
            continue
        old = rows.get(figure.name)
        rows[figure.name] = Row(
            name=figure.name,
            value=float(figure.value),
            unit=figure.unit or (old.unit if old else ""),
            format=old.format if old else ".3g",
            limit=None if figure.limit is None else float(figure.limit),
            note=old.note if old and old.note.startswith(ON_PURPOSE) else note,
            **vars(origin),
        )
        stored.append(figure.name)
    write(rows, project)
    return stored


def add_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--save",
        nargs="?",
        const="",
        metavar="NOTE",
        help=f"write the figures into {MEASURED}; NOTE says what was special, e.g. other work on the machine",
    )


def save(note: str | None, found: Iterable[Found]) -> None:
    """What `--save` asks for; nothing where it was not given."""
    if note is None:
        return
    stored = update(found, here(), note)
    print(
        f"\n{len(stored)} figures saved in {MEASURED}; `python -m benchmarks.figures --write` puts them into the text"
    )


def here() -> Origin:
    """This command, this machine, today."""
    words = [Path(word).name if word.startswith("/") else word for word in sys.orig_argv[1:]]
    if "--save" in words:
        position = words.index("--save")
        has_note = position + 1 < len(words) and not words[position + 1].startswith("-")
        del words[position : position + 1 + has_note]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpus = list(Path("/proc/driver/nvidia/gpus").glob("*"))
    return Origin(
        command=shlex.join(["python", *words]),
        machine=machine(os.cpu_count() or 1, cpu_model(), memory, len(gpus), platform.python_version()),
        date=str(date.today()),
    )


def machine(cores: int, cpu: str, memory_gib: float, gpus: int, python: str) -> str:
    """One wording for this machine and for what a record says of another.

    Example:
        machine(2, "AMD EPYC", 23.5, 0, "3.11.7") == "2 cores of AMD EPYC, 24 GiB, no GPU, Python 3.11"
    """
    beside = f"{gpus} GPUs" if gpus > 1 else "1 GPU" if gpus else "no GPU"
    return f"{cores} cores of {cpu}, {memory_gib:.0f} GiB, {beside}, Python {python.rpartition('.')[0]}"
