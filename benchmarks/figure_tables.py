"""Tables that documents show, rendered from the CSVs in docs/figures as docs/figures/tables.yaml declares them."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reasoning_pipeline.base.yaml_files import read_yaml
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.workflows.reasoning.published import published_difference

FIGURES = Path("docs") / "figures"
DECLARATIONS = FIGURES / "tables.yaml"
ABSENT = "–"
_FIELD = re.compile(r"\{(?P<name>[\w.]+)(?:\*(?P<factor>[\d.]+))?(?::(?P<form>[^}]+))?\}")


class Words(BaseModel):
    """A cell that is looked up: the value of column `of`, in our words."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    of: str
    words: dict[str, str]


Cell = str | Annotated[list[str], Field(min_length=1)] | Words
"""A template; or several, of which the first counts whose fields all have a value; or words."""


class Table(BaseModel):
    """One table.

    Example:
        Table(source="miniature_arms.csv", row="arm", pivot="suite",
              columns={"arm": "{arm}", "test": "{arithmetic.mean:.1p} [{arithmetic.low:.1p}, {arithmetic.high:.1p}]"})
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    source: str
    row: str | None = None
    """One row of the table for each value of this column, in the file's order; None: one for each line."""
    pivot: str | None = None
    """The lines that share a `row` are told apart by this column: `VALUE.COLUMN` is a cell of one of them."""
    where: dict[str, str] = {}
    """Column -> pattern (a regular expression of the whole value) of the lines that are meant."""
    columns: dict[str, Cell] = Field(min_length=1)
    """Heading -> cell. A heading may have fields too; they are those of the first row."""


def declarations(project: Path) -> dict[str, Table]:
    path = project / DECLARATIONS
    values = read_yaml(path)
    try:
        return {name: Table.model_validate(value) for name, value in values.items()}
    except ValidationError as error:
        raise DataError(f"{DECLARATIONS}: {error}", remedy="see benchmarks/figure_tables.py for the fields") from error


def render(name: str, project: Path) -> list[str]:
    """Lines of Markdown, an empty one before and after. Raises DataError for what is not declared or not there."""
    declared = declarations(project)
    if name not in declared:
        raise DataError(f'no table is called "{name}"', remedy=f"declare it in {DECLARATIONS}; there are {[*declared]}")
    table = declared[name]
    rows = _rows(table, _lines(table, project))
    if not rows:
        raise DataError(f"table {name}: no line of {table.source} is meant", remedy=f"see `where` in {DECLARATIONS}")
    known = {field for row in rows for field in row}
    wanted = {match["name"] for cell in table.columns.values() for match in _FIELD.finditer(str(cell))}
    if unknown := sorted(wanted - known):
        raise DataError(
            f"table {name}: {table.source} has no {', '.join(unknown)}", remedy=f"there are {sorted(known)}"
        )
    headings = [_fill(heading, rows[0]) or heading for heading in table.columns]
    body = [[_cell(cell, row) for cell in table.columns.values()] for row in rows]
    return ["", _line(headings), "|" + "---|" * len(headings), *map(_line, body), ""]


def _lines(table: Table, project: Path) -> list[dict[str, str]]:
    path = project / FIGURES / table.source
    if not path.is_file():
        raise DataError(f"{FIGURES / table.source} is not there", remedy=f"{FIGURES}/README.md says how it gets there")
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    _add_published(lines)
    patterns = [(column, re.compile(pattern)) for column, pattern in table.where.items()]
    return [line for line in lines if all(found.fullmatch(line.get(column) or "") for column, found in patterns)]


def _add_published(lines: list[dict[str, str]]) -> None:
    """Column `published_difference`: points on MATH-500 between the published counterparts of an arm and of `main`."""
    counterparts = {line.get("arm"): line.get("published") or None for line in lines}
    if not any(counterparts.values()):
        return
    for line in lines:
        found = published_difference(line["published"] or None, counterparts.get("main"))
        line["published_difference"] = "" if found is None or line["arm"] == "main" else str(found.math500)


def _rows(table: Table, lines: list[dict[str, str]]) -> list[dict[str, str]]:
    if table.row is None:
        return lines
    rows: dict[str, dict[str, str]] = {}
    for line in lines:
        row = rows.setdefault(line[table.row], dict(line))
        if table.pivot is not None:
            row |= {f"{line[table.pivot]}.{column}": value for column, value in line.items()}
    return list(rows.values())


def _cell(cell: Cell, row: dict[str, str]) -> str:
    if isinstance(cell, Words):
        return cell.words.get(row.get(cell.of, ""), row.get(cell.of) or ABSENT)
    for template in [cell] if isinstance(cell, str) else cell:
        if (text := _fill(template, row)) is not None:
            return text
    return ABSENT


def _fill(template: str, row: dict[str, Any]) -> str | None:
    """None where a field is empty."""
    if any(not row.get(match["name"]) for match in _FIELD.finditer(template)):
        return None

    def value(match: re.Match[str]) -> str:
        text, form = str(row[match["name"]]), match["form"]
        if form == "count":
            return str(len(text.split()))
        if form is None and match["factor"] is None:
            return text
        return shown(float(text) * float(match["factor"] or 1), form or "g")

    return _FIELD.sub(value, template)


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


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
