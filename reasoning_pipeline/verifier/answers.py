r"""What kind of thing an answer is: a number, a list, a tuple, an interval, an equation, a word, ...

    ("expr", tree)                         ("list", items)             unordered: `1, 2`, `\{1, 2\}`, `1 \text{ or } 2`
    ("seq", open, close, items)            tuple or interval           ("union" | "meet", items)   ("minus", a, b)
    ("eq", sides)                          `x = 5`, `a = b = 5`        ("rel", sides, operators)   `1 < x \le 2`
    ("ratio", items)                       `3:2`, `4:30`               ("text", words)
    ("unit", answer, words)                `5 \text{ cm}`, `\$5`       ("label", words, answer)    `Minimum: 1`
    ("choice", letter)                     `\text{(E) } 12`            ("quantity", text)          `\angle A` beside "="
    ("where", answer, domain)              `n\pi, n \in \mathbb{Z}`

Reading is total: it returns one or two readings (`1,234` may be a number or a list) or raises `Unreadable`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from reasoning_pipeline.verifier.bounds import Unreadable, check
from reasoning_pipeline.verifier.cleaning import Token, tokens_of
from reasoning_pipeline.verifier.domains import Domain, split_domain
from reasoning_pipeline.verifier.expressions import ALGEBRA, NeedsAlgebra, parse_expression
from reasoning_pipeline.verifier.numerals import numeral
from reasoning_pipeline.verifier.relations import OTHER_RELATIONS, equality, relation
from reasoning_pipeline.verifier.sets import comprehension, membership, set_algebra
from reasoning_pipeline.verifier.spelling import ascii_latex, with_backslashes
from reasoning_pipeline.verifier.splitting import (
    CLOSE,
    OPEN,
    RELATIONS,
    equation_sides,
    outside,
    split,
    split_list,
)
from reasoning_pipeline.verifier.worded import restricted, with_unit
from reasoning_pipeline.verifier.wording import (
    INFINITY,
    REALS,
    Answer,
    choice,
    is_prose,
    prose,
    restriction,
    spoken,
)

_TRAILING = {".", ",", ";", "\\\\", "\\"}
_GROUPED = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")
_ROWS = re.compile(r"cases|aligned|align|gathered|gather|split|array")


@lru_cache(maxsize=8192)
def read(text: str) -> tuple[Answer, ...]:
    r"""The readings of one answer, the likelier first.

    Example:
        read(r"x = \frac12") == (("eq", (("expr", ("s", "x")), ("expr", ...))),)
    """
    text = check(with_backslashes(text.strip(" \t\n")))
    readings = []
    if "," in text and "(" not in text and "[" not in text:
        plain = _GROUPED.sub(lambda match: match.group().replace(",", ""), ascii_latex(text))
        if "," not in plain.rstrip(" ,.;") and plain != text:
            readings.append(_read(tokens_of(plain), plain))
    tokens = tokens_of(text)
    try:
        readings.append(_read(tokens, text))
    except NeedsAlgebra:
        raise
    except Unreadable:
        if not readings and choice(spoken(tokens)) is None:
            raise
    if (letter := choice(spoken(tokens))) and ("choice", letter) not in readings:
        readings.append(("choice", letter))
    return tuple(readings)


def _read(tokens: Sequence[Token], text: str = "") -> Answer:
    while tokens and tokens[-1].kind == "operator" and tokens[-1].value in _TRAILING:
        tokens = tokens[:-1]
    while tokens and tokens[-1].kind == "text" and not tokens[-1].value.strip(" .,;:"):
        tokens = tokens[:-1]
    if not tokens:
        raise Unreadable("nothing in the box")
    tokens = _outward_brackets(tokens)
    if len(tokens) > 2 and tokens[0].value == "\\{" and tokens[1].kind == "begin" and tokens[-1].kind == "end":
        tokens = tokens[1:]  # \left\{ \begin{array} ... \end{array} \right. draws the brace of `cases`
    sides = equation_sides(tokens)
    if _needs_algebra(sides[-1] if sides else tokens):
        raise NeedsAlgebra("a sum, integral, limit or congruence")
    head, domain = split_domain(tokens)
    if domain is not None:
        return _within(_read(head), domain)
    if limited := restriction(tokens):
        return restricted(*limited, _read)
    if is_prose(tokens):
        tree = numeral(tokens)  # \text{3021 base 4}
        return prose(tokens, text) if tree is None else ("expr", tree)
    if tokens[0].kind == "begin" and tokens[-1] == ("end", tokens[0].value) and _ROWS.fullmatch(tokens[0].value):
        rows = _rows(tokens)
        if rows is not None:
            return rows
    groups, commas = split(tokens, "operator", {";"}), split(tokens, "operator", {","})
    if groups[1] and commas[1]:  # p=5, q=2; p=7, q=2
        return ("list", tuple(_named_group(_read(part)) for part in groups[0] if part))
    parts, joined = split_list(tokens)
    if len(parts) > 1:
        items = tuple(_read(part) for part in parts)
        if all(item[0] == "rel" for item in items) and (joined == "and" or any("!=" in item[2] for item in items)):
            return ("meet", items)
        if (
            joined == "or"
            and any(item[0] == "rel" for item in items)
            and all(item[0] in ("rel", "eq") for item in items)
        ):
            return ("union", items)
        return ("list", items)
    return _item(parts[0] if parts else tokens)


def _within(answer: Answer, domain: Domain) -> Answer:
    """An answer with what is said of its letters, unless that says nothing: for all x, or the arguments of f(x)."""
    arguments = (
        {
            argument[1]
            for side in answer[1]
            if answer[0] == "eq" and side[0] == "expr" and side[1][0] == "f"
            for argument in side[1][2]
            if argument[0] == "s"
        }
        if answer[0] == "eq"
        else set()
    )
    letters, said = domain
    if letters.isdisjoint(arguments):
        said -= {"some"}  # some constant c is any; but an equation for some x does not hold for all
    free = letters <= arguments and said.isdisjoint({"!=0", "some"})
    return answer if free or said <= {"R"} else ("where", answer, (letters, said))


def _needs_algebra(tokens: Sequence[Token]) -> bool:
    return any(token.kind == "command" and token.value in ALGEBRA for token in tokens)


def _rows(tokens: Sequence[Token]) -> Answer | None:
    r"""`\begin{cases} x = 3 \\ y = 4 \end{cases}` is the list of its equations; None where a row is none."""
    inner = [token for token in tokens[1:-1] if token.value != "&"]
    parts, _ = split(inner, "operator", {"\\\\"})
    rows = [list(part) for part in parts if part]
    if not rows or not all(any(token.value in RELATIONS for token in row) for row in rows):
        return None
    items = tuple(_item(row[:-1] if row[-1].value in (",", ";", ".") else row) for row in rows)
    return items[0] if len(items) == 1 else ("list", items)


def _named_group(group: Answer) -> Answer:
    """`p = 5, q = 2` as `(p, q) = (5, 2)`, where it is one of several such groups."""
    if group[0] == "list" and group[1] and all(item[0] == "eq" and len(item[1]) == 2 for item in group[1]):
        sides = [("seq", "(", ")", tuple(item[1][side] for item in group[1])) for side in (0, 1)]
        return ("eq", tuple(sides))
    return group


def _item(tokens: Sequence[Token]) -> Answer:
    if not tokens:
        raise Unreadable("an empty place")
    head, domain = split_domain(tokens)
    if domain is not None:
        return _within(_item(head), domain)
    if len(tokens) == 1:
        single = _single(tokens[0])
        if single:
            return single
    present = {token.value for token in tokens}
    words = any(token.kind == "text" for token in tokens)
    if (words or "_" in present) and (tree := numeral(tokens)) is not None:
        return ("expr", tree)
    for marks, reader in _READERS:
        if not marks.isdisjoint(present):
            answer = reader(tokens)
            if answer is not None:
                return answer
    answer = with_unit(tokens, _item)
    if answer is not None:
        return answer
    if words and is_prose(tokens):
        return prose(tokens, "")
    return ("expr", parse_expression(tokens))


def _outward_brackets(tokens: Sequence[Token]) -> Sequence[Token]:
    """`]1, 2[` is how some countries write an open interval."""
    ends = [("operator", "]"), ("operator", "[")]
    if len(tokens) > 3 and (tokens[0] == ends[0] or tokens[-1] == ends[1]):
        opening = {"]": "(", "[": "[", "(": "("}.get(tokens[0].value)
        closing = {"[": ")", "]": "]", ")": ")"}.get(tokens[-1].value)
        if opening and closing and not any(token.value in ("[", "]") for token in tokens[1:-1]):
            return (Token("operator", opening), *tokens[1:-1], Token("operator", closing))
    return tokens


def _single(token: Token) -> Answer | None:
    if token.kind == "text":
        return prose([token], token.value)
    if token == ("command", "emptyset"):
        return ("list", ())
    if token == ("command", "mathbbR"):
        return REALS
    if token.kind == "command" and token.value.startswith("mathbb"):
        return ("text", token.value)
    return None


def _label(tokens: Sequence[Token]) -> Answer | None:
    if len(tokens) < 3:
        return None
    for index, token in enumerate(tokens):
        if token.kind == "operator" and token.value == ":" and index:
            return ("label", " ".join(t.value for t in tokens[:index]).lower(), _item(tokens[index + 1 :]))
        if token.kind != "text":
            return None
    return None


def _ratio(tokens: Sequence[Token]) -> Answer | None:
    parts, found = split(tokens, "operator", {":"})
    if not found or not all(parts):
        return None
    last = _item(parts[-1])
    items = (*(_item(part) for part in parts[:-1]), last[1] if last[0] == "unit" else last)
    return ("unit", ("ratio", items), last[2]) if last[0] == "unit" else ("ratio", items)


def _bracketed(tokens: Sequence[Token]) -> Answer | None:
    first, last = tokens[0], tokens[-1]
    if first.kind != "operator" or first.value not in OPEN or last.value not in CLOSE:
        return None
    if any(depth == 0 for index, _, depth in outside(tokens) if 0 < index < len(tokens) - 1):
        return None
    # outside gives a closing bracket the depth of its inside, so depth 0 in between means that the first one closed
    inner = tokens[1:-1]
    if not inner and first.value in ("(", "["):
        raise Unreadable("empty brackets")
    if first.value in ("\\{", "{"):
        return _braced(inner, grouping=first.value == "{")
    items, _ = split(inner, "operator", {",", ";"})
    if len(items) == 1 and ((first.value, last.value) == ("(", ")") or inner[0].kind == "begin"):
        return _read(inner)
    if not all(items):
        raise Unreadable("an empty place in a tuple")
    return ("seq", first.value, last.value, tuple(_item(item) for item in items))


def _braced(inner: Sequence[Token], *, grouping: bool) -> Answer:
    if not inner:
        if grouping:
            raise Unreadable("an empty group")
        return ("list", ())
    if (described := comprehension(inner, _item, _read)) is not None:
        return described
    if grouping:
        return _read(inner)
    answer = _read(inner)
    # The set of the empty set is not empty.
    return answer if answer[0] == "list" and answer[1] else ("list", (answer,))


def _reals(tokens: Sequence[Token]) -> Answer | None:
    shown = "".join(token.value for token in tokens)
    if shown in ("mathbbR^+", "mathbbR^{+}", "mathbbR_+", "mathbbR_{>0}"):
        return ("seq", "(", ")", (("expr", parse_expression(tokens_of("0"))), INFINITY))
    return None


_READERS: tuple[tuple[set[str], Callable[[Sequence[Token]], Answer | None]], ...] = (
    ({"in"}, lambda tokens: membership(tokens, _item)),
    ({"="}, lambda tokens: equality(tokens, _item)),
    ({"cup", "cap", "setminus", "-"}, lambda tokens: set_algebra(tokens, _item)),
    (RELATIONS | OTHER_RELATIONS | {"approx"}, lambda tokens: relation(tokens, _item)),
    ({":"}, _label),
    ({":"}, _ratio),
    (CLOSE, _bracketed),
    ({"mathbbR"}, _reals),
)
"""Each with the signs that an answer of its kind must have."""

__all__ = ["REALS", "Answer", "NeedsAlgebra", "read"]
