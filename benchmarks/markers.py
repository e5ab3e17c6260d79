"""Figures in Markdown: where they stand. GitHub shows none of this syntax.

    The teacher gained <!--=demo.teacher_rl.c1.gain-->58.4<!--/--> points.    a figure, by name
    Written for Python <!--=-->3.11<!--/-->.                                  on purpose no measurement

    <!-- table: demo -->
    (rows, generated)
    <!-- /table -->

A comment that begins a line begins a block of HTML, and what follows it on the line is then no Markdown: such a marker
is an error. Fenced code is left alone, for comments show there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "recipes/README.md", "docs/*.md")

FIGURE = re.compile(r"<!--=(?P<name>[\w.@/+-]*)-->(?P<text>.*?)<!--/-->")
TABLE = re.compile(r"<!-- table: (?P<name>[\w-]+) -->")
TABLE_END = "<!-- /table -->"
_BEGINS_LINE = re.compile(r"\s*(?:(?:[-*+>]|\d+[.)])\s+)*<!--=")
_HALF = re.compile(r"<!--=|<!--/-->")
_FENCE = re.compile(r"\s*(```|~~~)")
_HEADING = re.compile(r"(#+)\s+(.*)")
_NO_FIGURE = re.compile(r"`[^`]*`|\]\([^)]*\)|arXiv \d{4}\.\d{5}")
_DECIMAL = re.compile(r"\d[\d,]*\.\d+")
GUARDED = re.compile(r"(\*\*)?(Measured\b|The demo\b)")
"""Headings of sections in which every number with a decimal point is generated, or said to be no measurement."""
GUARDED_DOCUMENTS = ("evidence.md",)


@dataclass(frozen=True, kw_only=True)
class Inline:
    """One figure in a line of text.

    Example:
        Inline(line=46, name="demo.teacher_rl.c1.gain", text="58.4")
    """

    line: int
    name: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Block:
    """A generated table: the line of its first marker, and the lines between the two."""

    line: int
    name: str
    lines: tuple[str, ...]


def documents(project: Path = PROJECT) -> list[Path]:
    return sorted(path for pattern in DOCUMENTS for path in project.glob(pattern))


def figures(text: str) -> Iterator[Inline]:
    """Every named figure, in order; numbers under the empty name are left out."""
    for number, line in _prose(text):
        for found in FIGURE.finditer(line):
            if found["name"]:
                yield Inline(line=number, name=found["name"], text=found["text"])


def tables(text: str) -> Iterator[Block]:
    lines = text.splitlines()
    for number, line in _prose(text):
        if (found := TABLE.fullmatch(line)) and (end := _end(lines, number)) is not None:
            yield Block(line=number, name=found["name"], lines=tuple(lines[number:end]))


def used_names(project: Path = PROJECT) -> set[str]:
    return {figure.name for path in documents(project) for figure in figures(path.read_text(encoding="utf-8"))}


def malformed(text: str) -> Iterator[tuple[int, str]]:
    """(line, what is wrong): markers that would show, break the page, or never be filled."""
    lines = text.splitlines()
    for number, line in _prose(text):
        if _HALF.search(FIGURE.sub("", line)):
            yield number, "half a marker; a figure is <!--=NAME-->TEXT<!--/--> in one line"
        if _BEGINS_LINE.match(line):
            yield number, "a marker begins the line, which makes HTML of it; put a word before it"
        if TABLE.search(line) and (not TABLE.fullmatch(line) or _end(lines, number) is None):
            yield number, f"a table's marker stands alone in its line, and {TABLE_END} ends the table"


def loose_numbers(text: str, *, everywhere: bool) -> Iterator[tuple[int, str]]:
    """(line, number) of each number with a decimal point that nothing generates, in guarded sections or everywhere."""
    generated = {number for block in tables(text) for number in range(block.line, block.line + len(block.lines) + 2)}
    guarded_level = 0
    for number, line in _prose(text):
        if heading := _HEADING.match(line):
            level = len(heading[1])
            if guarded_level and level <= guarded_level:
                guarded_level = 0
            if not guarded_level and GUARDED.match(heading[2]):
                guarded_level = level
        if (everywhere or guarded_level) and number not in generated:
            yield from ((number, found[0]) for found in _DECIMAL.finditer(_NO_FIGURE.sub(" ", FIGURE.sub(" ", line))))


def filled(text: str, figure: Callable[[Inline], str], table: Callable[[Block], list[str]]) -> str:
    """The document with every figure and table generated anew."""
    lines = text.splitlines()
    for number, line in _prose(text):

        def replaced(found: re.Match[str], number: int = number) -> str:
            if not found["name"]:
                return found[0]
            text = figure(Inline(line=number, name=found["name"], text=found["text"]))
            return f"<!--={found['name']}-->{text}<!--/-->"

        lines[number - 1] = FIGURE.sub(replaced, line)
    for block in reversed(list(tables(text))):  # from the end, so that line numbers stay true
        lines[block.line : block.line + len(block.lines)] = table(block)
    return "\n".join(lines) + "\n"


def _end(lines: list[str], start: int) -> int | None:
    """Index of the line that ends the table whose first marker is line `start` (from 1); None where there is none."""
    for index in range(start, len(lines)):
        if lines[index] == TABLE_END:
            return index
        if TABLE.search(lines[index]):
            break
    return None


def _prose(text: str) -> Iterator[tuple[int, str]]:
    """(line number from 1, line) outside of fenced code."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        if mark := _FENCE.match(line):
            fence = "" if fence == mark[1] else fence or mark[1]
        elif not fence:
            yield number, line
