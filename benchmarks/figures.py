"""`python -m benchmarks.figures`: the figures in README and docs, from docs/figures and nowhere else.

    --check                          exit status 1 where a document says something else than the CSVs (the default)
    --write                          put the CSVs' figures into the documents
    --take report RUN/report.csv --as NAME        store a run's results, and what its records measured
    --take arms RUN/report_arms.csv --as NAME     the same of its arms; tables are rendered from the stored file
    --take table FILE.csv --as NAME               any other CSV that a table is rendered from
    --command TEXT                                what made it, where no record says so
    --note TEXT                                   what was special about it

Benchmarks store their own figures with `--save`. docs/figures/README.md says what is a figure and how one is named.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from benchmarks import figure_pictures, figure_tables, markers, measured
from benchmarks.figure_taking import KEYS, SOURCES, take
from benchmarks.markers import PROJECT, Block, Inline
from benchmarks.measured import FIGURES, MEASURED, ON_PURPOSE, Row
from reasoning_pipeline.errors import PipelineError

WRITE = "python -m benchmarks.figures --write"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One place where a document and the CSVs disagree.

    Example:
        Problem(place="README.md:46", found='"58.5" for demo.teacher_rl.c1.gain', expected='"58.4"',
                remedy="python -m benchmarks.figures --write")
    """

    place: str
    found: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: found {self.found}, expected {self.expected}\n  → {self.remedy}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true")
    action.add_argument("--write", action="store_true")
    action.add_argument("--take", nargs=2, metavar=("KIND", "CSV"))
    parser.add_argument("--as", dest="name", metavar="NAME")
    parser.add_argument("--command", default="")
    parser.add_argument("--note", default="")
    arguments = parser.parse_args()
    try:
        if arguments.take:
            kind, path = arguments.take
            if kind not in KEYS or not arguments.name:
                parser.error(f"--take {'|'.join(KEYS)} CSV --as NAME")
            stored = take(kind, Path(path), arguments.name, note=arguments.note, command=arguments.command)
            print(*stored, sep="\n")
            print(f"now: {WRITE}")
            return 0
        if arguments.write:
            print(*write() or ["every document is as it should be"], sep="\n")
        problems = list(check())
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def expected(name: str, rows: dict[str, Row]) -> str | None:
    """The text of a figure; None where no row has this name. A row NAME also gives `NAME.limit` and `NAME.date`."""
    if name in rows:
        return rows[name].shown()
    row = rows.get(measured.row_name(name))
    if row is None or name.endswith(".date"):
        return None if row is None else row.date
    return None if row.limit is None else f"{row.limit:g}"


def write(project: Path = PROJECT) -> list[str]:
    """Generate every figure, table and picture anew; returns what changed. What cannot be generated stays."""
    rows = measured.read(project)
    changed = []
    for path in markers.documents(project):
        before = path.read_text(encoding="utf-8")

        def text_of(figure: Inline) -> str:
            text = expected(figure.name, rows)
            return figure.text if text is None else text

        def lines_of(block: Block) -> list[str]:
            try:
                return figure_tables.render(block.name, project)
            except PipelineError:  # `check` says it, with its place
                return list(block.lines)

        after = markers.filled(before, text_of, lines_of)
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed.append(str(path.relative_to(project)))
    for path, svg in figure_pictures.pictures(project):
        if not path.is_file() or not figure_pictures.alike(path.read_text(encoding="utf-8"), svg):
            path.write_text(svg, encoding="utf-8")
            changed.append(str(path.relative_to(project)))
    return changed


def check(project: Path = PROJECT) -> Iterator[Problem]:
    rows = measured.read(project)
    used: set[str] = set()
    for path in markers.documents(project):
        document, text = str(path.relative_to(project)), path.read_text(encoding="utf-8")
        for line, what in markers.malformed(text):
            yield Problem(place=f"{document}:{line}", found=what, expected="a whole marker", remedy="mend the line")
        for figure in markers.figures(text):
            used |= {figure.name, measured.row_name(figure.name)}
            yield from _figure(document, figure, rows)
        for block in markers.tables(text):
            yield from _table(document, block, project)
        guarded = path.name in markers.GUARDED_DOCUMENTS
        for line, number in markers.loose_numbers(text, everywhere=guarded):
            yield Problem(
                place=f"{document}:{line}",
                found=f'"{number}", which nothing generates',
                expected="a figure's marker, or a generated table",
                remedy=f"write <!--=NAME-->{number}<!--/-->, or <!--=-->{number}<!--/--> if it is no measurement",
            )
    for name, row in rows.items():
        if name not in used and not row.note.startswith(ON_PURPOSE):
            remedy = f'show it, remove the row, or begin its note with "{ON_PURPOSE}" and say why'
            yield Problem(place=f"{MEASURED}", found=name, expected="a document that shows it", remedy=remedy)
    yield from _sources(project)
    for path, svg in figure_pictures.pictures(project):
        drawn = path.read_text(encoding="utf-8") if path.is_file() else None
        if drawn is None or not figure_pictures.alike(drawn, svg):
            found = "another picture" if drawn is not None else "no picture"
            name = path.relative_to(project)
            yield Problem(place=str(name), found=found, expected=f"what {name.stem}.csv gives", remedy=WRITE)


def _figure(document: str, figure: Inline, rows: dict[str, Row]) -> Iterator[Problem]:
    text = expected(figure.name, rows)
    place = f"{document}:{figure.line}"
    if text is None:
        near = get_close_matches(figure.name, rows, 1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        remedy = f"let the program that measures it save it (--save or --take); see {FIGURES}/README.md{hint}"
        yield Problem(place=place, found=f'"{figure.name}"', expected=f"a row of {MEASURED}", remedy=remedy)
    elif text != figure.text:
        row = rows.get(figure.name) or rows[measured.row_name(figure.name)]
        again = f"; `{row.command}` measures it" if row.command else ""
        yield Problem(
            place=place, found=f'"{figure.text}" for {figure.name}', expected=f'"{text}"', remedy=f"{WRITE}{again}"
        )


def _table(document: str, block: Block, project: Path) -> Iterator[Problem]:
    try:
        wanted = figure_tables.render(block.name, project)
    except PipelineError as error:
        place, remedy = f"{document}:{block.line}", error.remedy or "mend the declaration"
        yield Problem(place=place, found=error.message, expected=f"what table {block.name} needs", remedy=remedy)
        return
    if list(block.lines) == wanted:
        return
    differing = [n for n, (a, b) in enumerate(zip(block.lines, wanted, strict=False)) if a != b]
    at = differing[0] if differing else min(len(block.lines), len(wanted))
    found, text = (lines[at] if at < len(lines) else "the table's end" for lines in (block.lines, wanted))
    place = f"{document}:{block.line + 1 + at}"
    yield Problem(place=place, found=f'"{found}" in table {block.name}', expected=f'"{text}"', remedy=WRITE)


def _sources(project: Path) -> Iterator[Problem]:
    """Every stored CSV says where it comes from."""
    path = project / SOURCES
    lines = path.read_text(encoding="utf-8").splitlines()[1:] if path.is_file() else []
    named = {line.split(",")[0] for line in lines}
    stored = {file.name for file in (project / FIGURES).glob("*.csv")} - {MEASURED.name, SOURCES.name}
    for name in sorted(named ^ stored):
        found = f"{name} without a line" if name in stored else f"a line for {name}, which is not there"
        yield Problem(
            place=str(SOURCES), found=found, expected="one line for each stored CSV", remedy="--take it again"
        )


if __name__ == "__main__":
    sys.exit(main())
