"""Where tokens come apart: at commas, connecting words and relations that stand outside all brackets."""

from __future__ import annotations

from collections.abc import Sequence

from reasoning_pipeline.verifier.bounds import Unreadable
from reasoning_pipeline.verifier.cleaning import Token
from reasoning_pipeline.verifier.wording import connector

OPEN, CLOSE = {"(", "[", "{", "\\{"}, {")", "]", "}", "\\}"}
RELATIONS = {"=", "<", ">", "<=", ">=", "!="}


def split_list(tokens: Sequence[Token]) -> tuple[list[Sequence[Token]], str]:
    """Parts between commas, semicolons, "and" and "or" outside all brackets."""
    parts: list[Sequence[Token]] = []
    joined, start = ",", 0
    if connector(tokens[0]) or connector(tokens[-1]):
        raise Unreadable("a connecting word that connects nothing")
    for index, token, depth in outside(tokens):
        word = connector(token)
        if depth == 0 and (word or (token.kind == "operator" and token.value in (",", ";", "&"))):
            joined = word or joined
            parts.append(tokens[start:index])
            start = index + 1
    parts.append(tokens[start:])
    return [part for part in parts if part], joined


def outside(tokens: Sequence[Token]) -> list[tuple[int, Token, int]]:
    depth, rows = 0, []
    for index, token in enumerate(tokens):
        closes = token.kind == "end" or (token.kind == "operator" and token.value in CLOSE)
        depth -= closes
        rows.append((index, token, depth + closes))
        depth += token.kind == "begin" or (token.kind == "operator" and token.value in OPEN)
        if depth < 0:
            raise Unreadable("a bracket is closed that was never opened")
    if depth:
        raise Unreadable("a bracket is never closed")
    return rows


def split(tokens: Sequence[Token], kind: str, values: set[str]) -> tuple[list[Sequence[Token]], list[str]]:
    parts: list[Sequence[Token]] = []
    found: list[str] = []
    start = 0
    if not any(token.value in values for token in tokens):
        return [tokens], found
    for index, token, depth in outside(tokens):
        if depth == 0 and token.kind == kind and token.value in values:
            parts.append(tokens[start:index])
            found.append(token.value)
            start = index + 1
    return [*parts, tokens[start:]], found


def equation_sides(tokens: Sequence[Token]) -> list[Sequence[Token]]:
    """The sides of an equation that is nothing but equalities; empty where it is something else."""
    try:
        parts, found = split(tokens, "operator", RELATIONS)
    except Unreadable:
        return []
    return parts if found and set(found) == {"="} and all(parts) else []


def spelled(tokens: Sequence[Token]) -> str:
    """Tokens as one text, in which the same quantity is the same however it was spaced."""
    return " ".join(token.value for token in tokens if token.value not in ("{", "}"))
