r"""What stands in a question: the quantities it names, and the formulas that would answer it if copied.

A policy that may copy a formula of the question into the box learns to copy. So every formula span of a question is
read as a tree, freed of what changes nothing (a zero added, a factor of one, doubled signs, order), and compared with
the trees of an answer that the strict profile would pay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from reasoning_pipeline.verifier.answers import Answer, read
from reasoning_pipeline.verifier.bounds import Unreadable
from reasoning_pipeline.verifier.cleaning import Token, tokens_of
from reasoning_pipeline.verifier.curves import cleared, difference
from reasoning_pipeline.verifier.exact import normal_form
from reasoning_pipeline.verifier.expressions import Parser
from reasoning_pipeline.verifier.formulas import exact_equal
from reasoning_pipeline.verifier.literals import is_literal
from reasoning_pipeline.verifier.numeric import real_value
from reasoning_pipeline.verifier.splitting import RELATIONS, spelled
from reasoning_pipeline.verifier.trees import Tree, unknown_functions
from reasoning_pipeline.verifier.undressing import fold, plain
from reasoning_pipeline.verifier.wording import words_of

_PICTURE = re.compile(r"\[asy\].*?\[/asy\]", re.DOTALL)
_SEGMENT = re.compile(r"\$\$(.+?)\$\$|(?<!\\)\$(.+?)(?<!\\)\$|\\\[(.+?)\\\]|\\\((.+?)\\\)", re.DOTALL)
_MOST_TOKENS = 160
"""Of one formula, and six times as many of a whole question. What is longer is read in part."""
_MOST_PARTS = 12
"""First parts of one sum or product; later parts are first parts of what starts later."""


@dataclass(frozen=True)
class Spans:
    """The formulas of one question."""

    plain: frozenset[Tree]
    folded: frozenset[Tree]
    relations: frozenset[Any]
    text: str


def names_formula(question: str, tree: Tree) -> bool:
    """Whether a formula stands in a question, whatever its order and dress."""
    return plain(tree) in spans(question).plain


def names_quantity(question: str, quantity: str) -> bool:
    """The same for what has no reading, by its tokens."""
    return f" {quantity} " in spans(question).text


def copied(question: str, golds: tuple[Answer, ...], answers: tuple[Answer, ...], text: str) -> bool:
    """Whether an answer holds a formula or relation of the question that the reference does not hold as well."""
    known = spans(question)
    shown = f" {spelled(tokens_of(text))} "
    if " = " in shown and shown in known.text and not any(gold[0] == "eq" for gold in golds):
        return True
    allowed = {plain(tree) for gold in golds for tree in _formulas(gold)}
    if any(_holds_copy(answer, known, allowed) for answer in answers):
        return True
    if any(answer[0] == "expr" and _wraps_copy(answer[1], known, allowed) for answer in answers):
        return True
    written = {relation for gold in golds for relation in _relations(gold, scaled=False)}
    for answer in answers:
        for exact, scaled in zip(_relations(answer, scaled=False), _relations(answer, scaled=True), strict=True):
            solved = exact[1][0] == "s" or exact[2][0] == "s"
            if exact not in written and (exact in known.relations or (scaled in known.relations and not solved)):
                return True
    return False


def _holds_copy(answer: Answer, known: Spans, allowed: set[Tree]) -> bool:
    """A formula of the question anywhere in an answer; in an equation, on every side that is more than a letter."""
    if answer[0] == "eq":
        sides = [side for side in answer[1] if not (side[0] == "expr" and _is_letter(side[1]))]
        return bool(sides) and all(_holds_copy(side, known, allowed) for side in sides)
    if answer[0] in ("list", "union", "meet"):
        return any(_holds_copy(item, known, allowed) for item in answer[1])
    if answer[0] == "where":
        return _holds_copy(answer[1], known, allowed)
    return any(_is_copy(tree, known, allowed) for tree in _formulas(answer))


def _is_letter(tree: Tree) -> bool:
    return tree[0] == "s" or (tree[0] == "f" and all(argument[0] == "s" for argument in tree[2]))


def _is_copy(tree: Tree, known: Spans, allowed: set[Tree]) -> bool:
    shown = plain(tree)
    if shown[0] in ("n", "s", "b") or shown in allowed:
        return False
    if shown in known.plain:
        return True
    folded = shown if is_literal(tree) else fold(shown)
    return folded != shown and (folded in known.folded or folded in known.plain)


def _wraps_copy(tree: Tree, known: Spans, allowed: set[Tree]) -> bool:
    r"""Whether a part of an answer is a formula of the question that is worth all of it: `|\sqrt{48}|`."""
    bare = _without_neutral(tree)
    if bare is not tree and _is_copy(bare, known, allowed):
        return True
    for part in _parts(tree):
        if part is tree or not _is_copy(part, known, allowed):
            continue
        same = exact_equal(part, tree)
        if same or (same is None and not unknown_functions(tree)):
            return True
    return False


def _without_neutral(tree: Tree) -> Tree:
    r"""A product or sum without what is worth one or zero there: `\cdot\cos 0`, `+\ln 1`."""
    if tree[0] not in ("*", "+"):
        return tree
    neutral = 1.0 if tree[0] == "*" else 0.0
    kept = tuple(part for part in tree[1] if (value := real_value(part)) is None or abs(value - neutral) > 1e-12)
    if len(kept) in (0, len(tree[1])):
        return tree
    return kept[0] if len(kept) == 1 else (tree[0], kept)


def _parts(tree: Tree) -> Iterator[Tree]:
    if tree[0] in ("n", "d", "s", "b"):
        return
    yield tree
    for child in tree:
        if isinstance(child, tuple) and child:
            if isinstance(child[0], str):
                yield from _parts(child)
            else:
                for grandchild in child:
                    if isinstance(grandchild, tuple) and grandchild and isinstance(grandchild[0], str):
                        yield from _parts(grandchild)


def is_reference(text: str, reference: str) -> bool:
    """Whether a text holds nothing but what the reference holds, up to dress."""
    try:
        known = {plain(tree) for gold in read(reference) for tree in _formulas(gold)}
        shown = {plain(tree) for answer in read(text) for tree in _formulas(answer)}
    except Unreadable:
        return False
    return (bool(shown) and shown <= known) or words_of(text) == words_of(reference)


@lru_cache(maxsize=256)
def spans(question: str) -> Spans:
    """Every formula in a question, with its contiguous parts."""
    text = _PICTURE.sub(" ", question)
    segments = [next(filter(None, match.groups())) for match in _SEGMENT.finditer(text)] or [text]
    found: set[Tree] = set()
    relations: set[Any] = set()
    spelling: list[str] = []
    left = 6 * _MOST_TOKENS
    for segment in segments:
        try:
            tokens = list(tokens_of(segment[:4000]))[: min(left, _MOST_TOKENS)]
        except Unreadable:
            continue
        left -= len(tokens)
        spelling.append(spelled(tokens))
        trees, pairs = _spans_of(tokens)
        found |= trees
        for low, operator, high in pairs:
            relations |= {_relation(low, operator, high, scaled=False), _relation(low, operator, high, scaled=True)}
    simple = {plain(tree) for tree in found}
    folded = {fold(tree) for tree in simple}
    return Spans(frozenset(simple), frozenset(folded), frozenset(relations), f" {' | '.join(spelling)} ")


def _spans_of(tokens: list[Token]) -> tuple[set[Tree], list[tuple[Tree, str, Tree]]]:
    """The trees of all contiguous parts, and both sides of every relation."""
    found: set[Tree] = set()
    starts: dict[int, Tree] = {}
    ends: dict[int, list[Tree]] = {}
    for start in range(len(tokens)):
        for method in ("sum", "product", "factor"):
            parser = Parser(tokens[start:])
            try:
                tree = getattr(parser, method)()
            except (Unreadable, RecursionError, ValueError):
                continue
            found.update(_prefixes(tree))
            if method == "sum":
                starts[start] = tree
                ends.setdefault(start + parser.position, []).append(tree)
    pairs = [
        (left, token.value, starts[place + 1])
        for place, token in enumerate(tokens)
        if token.kind == "operator" and token.value in RELATIONS and place + 1 in starts
        for left in ends.get(place, ())[:_MOST_PARTS]
    ]
    return found, pairs


def _prefixes(tree: Tree) -> Iterator[Tree]:
    """A sum or product, and its first parts: what a shorter span would have given."""
    yield tree
    if tree[0] in ("+", "*"):
        for count in range(1, min(len(tree[1]), _MOST_PARTS)):
            yield (tree[0], tree[1][:count]) if count > 1 else tree[1][0]
        if tree[1][0][0] in ("+", "*"):
            yield from _prefixes(tree[1][0])


def _formulas(answer: Answer) -> Iterator[Tree]:
    """The trees of an answer, wherever they stand in it."""
    if answer[0] == "expr":
        yield answer[1]
        if answer[1][0] == "M":
            yield from (cell for row in answer[1][2] for cell in row)
        return
    for part in answer[1:]:
        if isinstance(part, tuple) and part:
            if isinstance(part[0], str):
                yield from _formulas(part)
            else:
                for item in part:
                    if isinstance(item, tuple) and item and isinstance(item[0], str):
                        yield from _formulas(item)


def _relations(answer: Answer, *, scaled: bool) -> list[Any]:
    if answer[0] in ("list", "union", "meet"):
        return [relation for item in answer[1] for relation in _relations(item, scaled=scaled)]
    if answer[0] not in ("eq", "rel") or any(side[0] != "expr" for side in answer[1]):
        return []
    operators = ["="] * (len(answer[1]) - 1) if answer[0] == "eq" else answer[2]
    sides = [side[1] for side in answer[1]]
    return [_relation(*parts, scaled=scaled) for parts in zip(sides, operators, sides[1:], strict=False)]


def _relation(low: Tree, operator: str, high: Tree, *, scaled: bool) -> Any:
    """One relation as it is written, turned the usual way round; `scaled`: as a difference of sides up to a factor."""
    if operator in (">", ">="):
        low, operator, high = high, operator.replace(">", "<"), low
    if not scaled:
        sides = (plain(low), plain(high))
        if operator in ("=", "!="):
            sides = tuple(sorted(sides, key=hash))  # type: ignore[assignment]
        return (operator, *sides)
    try:
        form = dict(normal_form(cleared(difference(low, high)) or low))
    except Unreadable:
        return (operator, "?", plain(low), plain(high))
    if not form:
        return (operator, "?", low, high)
    factor = form[min(form, key=hash)]
    factor = factor if operator in ("=", "!=") else abs(factor)
    return (operator, frozenset((monomial, value / factor) for monomial, value in form.items()))
