r"""Values with words beside them: a unit, a multiplier, a choice letter, what a set leaves out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from reasoning_pipeline.verifier.bounds import Unreadable
from reasoning_pipeline.verifier.cleaning import CURRENCIES, Token
from reasoning_pipeline.verifier.expressions import parse_expression
from reasoning_pipeline.verifier.sets import Reader
from reasoning_pipeline.verifier.trees import times
from reasoning_pipeline.verifier.units import is_unit_phrase, multiplier
from reasoning_pipeline.verifier.wording import REALS, Answer, choice, denies, split_unit, spoken, words_of

_ANNOUNCED = re.compile(r"(?i)\s*(?:so |thus |hence )?(?:the )?(?:final )?answer(?: is)?\s*:?\s*")


def restricted(base: Answer, kind: str, direction: str, rest: Sequence[Token], read: Reader) -> Answer:
    """All numbers of a set except some, or beyond a bound."""
    item = read(rest)
    if kind == "relation":
        if item[0] not in ("rel", "meet", "union"):
            raise Unreadable("words beside the value")
        return item
    values = item[1] if item[0] == "list" else (item,)
    values = tuple(value[1][-1] if value[0] == "eq" else value for value in values)
    if kind == "except":
        return ("minus", base, ("list", values))
    if len(values) != 1 or base != REALS:
        raise Unreadable("words beside the value")
    return ("rel", (("expr", ("s", "x")), values[0]), (direction,))


def with_unit(tokens: Sequence[Token], item: Reader) -> Answer | None:
    parts = split_unit(tokens)
    if parts is None:
        return _starts_in_words(tokens, item) if tokens[0].kind == "text" else None
    head, unit = parts
    if not head:
        raise Unreadable("a unit of nothing")
    if unit in CURRENCIES:
        return ("unit", item(head), unit)
    scale, _, rest = unit.partition(" ")
    if unit in ("squared", "cubed"):
        return ("expr", ("^", parse_expression(head), ("n", Fraction(2 if unit == "squared" else 3))))
    if (factor := multiplier(scale)) is not None:
        scaled: Answer = ("expr", times((parse_expression(head), ("n", factor))))
        if not rest:
            return scaled
        if not is_unit_phrase(rest):
            raise Unreadable("words beside the value")
        return ("unit", scaled, rest)
    if unit in ("percent", "pct", "percentage", "per cent"):
        return ("expr", ("%", parse_expression(head)))
    if unit in ("degree", "degrees"):
        return ("expr", ("deg", parse_expression(head)))
    if not is_unit_phrase(unit):
        raise Unreadable("words beside the value")
    return ("unit", item(head), unit)


def _starts_in_words(tokens: Sequence[Token], item: Reader) -> Answer:
    r"""`\text{(A) } 5`, a choice letter followed by the value of that choice, or `\text{July } 4`."""
    if letter := choice(spoken(tokens)):
        return ("choice", letter)
    if len(tokens) > 1 and _ANNOUNCED.fullmatch(tokens[0].value):
        return ("label", "answer", item(tokens[1:]))
    if all(token.kind in ("text", "letter", "number") for token in tokens) and not denies(tokens):
        return ("text", words_of(spoken(tokens)))
    raise Unreadable("words beside the value")
