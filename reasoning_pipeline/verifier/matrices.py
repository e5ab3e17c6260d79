r"""Matrices: their rows, and the determinant that `vmatrix` draws."""

from __future__ import annotations

import re
from typing import Protocol

from reasoning_pipeline.verifier.bounds import Unreadable
from reasoning_pipeline.verifier.cleaning import Token
from reasoning_pipeline.verifier.trees import MINUS_ONE, ONE, Tree, times


class Parser(Protocol):
    """The part of the parser that reads a matrix."""

    position: int

    def peek(self, ahead: int = 0) -> Token: ...

    def rest(self) -> bool: ...

    def sum(self) -> Tree: ...


def matrix(parser: Parser, kind: str) -> Tree:
    """What stands between `\\begin{pmatrix}` and its end; a `vmatrix` is its determinant."""
    if not re.fullmatch(r"[pbvBV]?matrix|smallmatrix|array", kind):
        raise Unreadable(f"environment {kind}")
    rows: list[tuple[Tree, ...]] = []
    row: list[Tree] = []
    while parser.peek() != ("end", kind):
        if not parser.rest():
            raise Unreadable("a matrix is never closed")
        value = parser.peek().value
        if value == "&":
            parser.position += 1
        elif value in ("\\\\", "hline"):
            parser.position += 1
            if row:
                rows.append(tuple(row))
            row = []
        else:
            row.append(parser.sum())
    parser.position += 1
    if row:
        rows.append(tuple(row))
    if not rows or len({len(row) for row in rows}) != 1:
        raise Unreadable("a matrix with rows of different lengths")
    return _determinant(rows) if kind == "vmatrix" else ("M", "matrix", tuple(rows))


def _determinant(rows: list[tuple[Tree, ...]]) -> Tree:
    """Expanded along the first row."""
    if len(rows) != len(rows[0]) or len(rows) > 4:
        raise Unreadable("a determinant of this shape")
    if len(rows) == 1:
        return rows[0][0]
    terms = []
    for column, entry in enumerate(rows[0]):
        minor = [row[:column] + row[column + 1 :] for row in rows[1:]]
        terms.append(times((MINUS_ONE if column % 2 else ONE, entry, _determinant(minor))))
    return ("+", tuple(terms))
