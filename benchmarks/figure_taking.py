"""A finished run's figures, by name: its report's CSVs are stored whole, its records' figures where a document asks."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

from benchmarks.markers import PROJECT
from benchmarks.measured import FIGURES, Found, Origin, here, machine, update
from reasoning_pipeline.errors import DataError

Kind = Literal["report", "arms", "table"]
KEYS: dict[Kind, tuple[str, ...]] = {"report": ("step", "suite"), "arms": ("arm", "suite"), "table": ()}
"""Columns that name a line; the lines of any other table have no names."""
SOURCES = FIGURES / "sources.csv"
SOURCE_COLUMNS = ("file", "command", "machine", "date", "note")


def take(kind: Kind, path: Path, name: str, *, note: str = "", command: str = "", project: Path = PROJECT) -> list[str]:
    """Store `path` as docs/figures/NAME_KIND.csv (a table as NAME.csv); update the figures that documents show.

    A line's figure is NAME.STEP.SUITE.COLUMN (of arms NAME.ARM.SUITE.COLUMN). Where the run's plan.json lies beside the
    CSV, the records it names give NAME.STEP.FIELD, lists by position: demo.teacher_rl.c1.gain_interval.0; and over the
    optimizer steps NAME.STEP.metrics.KEY.largest and .middle (the median). `command` is what made a file that has no
    records. Returns what was stored. Raises DataError for a file that is no such CSV.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise DataError(f'--as "{name}": a name is lower-case letters, digits and _', remedy="for example: --as demo")
    text = _text(path)
    keys = KEYS[kind]
    reader = csv.DictReader(text.splitlines())
    if missing := [key for key in keys if key not in (reader.fieldnames or ())]:
        remedy = f"give the CSV that `report` writes ({'report_arms' if kind == 'arms' else 'report'}.csv)"
        raise DataError(f"{path}: no column {', '.join(missing)}", remedy=remedy)
    found = [
        Found(name=".".join([name, *(line[key] for key in keys), column]), value=value)
        for line in reader
        for column, cell in line.items()
        if keys and column not in keys and (value := _number(cell)) is not None
    ]
    records = _records(path.parent) if keys else []
    origin = _origin(records)
    origin = replace(origin, command=command) if command else origin
    stored = project / FIGURES / (f"{name}_{kind}.csv" if keys else f"{name}.csv")
    stored.write_text(text, encoding="utf-8")
    _note_source(stored.name, origin, note, project)
    names = update(found, origin, note, project)
    for record in records:
        figures = [Found(name=f"{name}.{record['step']}.{field}", value=value) for field, value in _figures(record)]
        names += update(figures, _origin([record]), note, project)
    return [f"{FIGURES / stored.name}", *sorted(names)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {error}", remedy="give the path of a CSV that `report` wrote") from error


def _number(cell: str | None) -> float | None:
    try:
        return float(cell or "")
    except ValueError:
        return None


def _records(folder: Path) -> list[dict[str, Any]]:
    """Of the complete steps of the plan in a run's folder, with its metrics as `rows`; none where there is no plan."""
    plan = folder / "plan.json"
    if not plan.is_file():
        return []
    records = []
    for step in json.loads(plan.read_text(encoding="utf-8"))["steps"]:
        artifact = folder.parent / "registry" / str(step["output"])
        if (artifact / "record.json").is_file():
            record = json.loads((artifact / "record.json").read_text(encoding="utf-8"))
            record["step"] = step["name"]  # another recipe may have made it under another name
            metrics = artifact / "metrics.jsonl"
            lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.is_file() else []
            records.append(record | {"rows": [json.loads(line) for line in lines]})
    return records


def _figures(record: dict[str, Any]) -> Iterator[tuple[str, float]]:
    yield from _flat(record["result"])
    for field in ("wall_seconds", "cpu_seconds"):
        yield from _flat({field: record["provenance"].get(field)})
    columns: dict[str, list[float]] = {}
    for row in record["rows"]:
        for key, value in _flat(row):
            columns.setdefault(key, []).append(value)
    for key, values in columns.items():
        yield f"metrics.{key}.largest", max(values)
        yield f"metrics.{key}.middle", median(values)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """{"interval": [1, 2]} -> interval.0 1, interval.1 2; texts are left out."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, float(value)


def _origin(records: list[dict[str, Any]]) -> Origin:
    """Of the youngest record; of this command where there is none."""
    if not records:
        return here()
    youngest = max(records, key=lambda record: str(record["created"]))
    made = youngest["provenance"]
    where = made.get("hardware", {})
    cores, cpu, memory = int(where.get("cpus", 0)), str(where.get("cpu", "")), float(where.get("memory_gib", 0))
    return Origin(
        command=str(made.get("command", "")),
        machine=machine(cores, cpu, memory, len(where.get("gpus", [])), str(made.get("python", ""))),
        date=str(youngest["created"])[:10],
    )


def _note_source(file: str, origin: Origin, note: str, project: Path) -> None:
    """One line for each stored CSV in sources.csv."""
    path = project / SOURCES
    lines = {}
    if path.is_file():
        lines = {line["file"]: line for line in csv.DictReader(path.read_text(encoding="utf-8").splitlines())}
    lines[file] = {"file": file, **vars(origin), "note": note}
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, SOURCE_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines[name] for name in sorted(lines))
