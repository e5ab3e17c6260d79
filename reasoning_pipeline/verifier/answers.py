r"""What kind of thing an answer is: a number, a list, a tuple, an interval, an equation, a word, ...

    ("expr", tree)                         ("list", items)             unordered: `1, 2`, `\{1, 2\}`, `1 \text{ or } 2`
    ("seq", open, close, items)            tuple or interval           ("union" | "meet", items)   ("minus", a, b)
    ("eq", sides)                          `x = 5`, `a = b = 5`        ("rel", sides, operators)   `1 < x \le 2`
    ("ratio", items)                       `3:2`, `4:30`               ("text", words)
    ("unit", answer, words)                `5 \text{ cm}`, `\$5`       ("label", words, answer)    `Minimum: 1`

Reading is total: it returns one or two readings (`1,234` may be a number or a list) or raises `Unreadable`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from reasoning_pipeline.verifier.bounds import Unreadable, check
from reasoning_pipeline.verifier.cleaning import Token, is_word, tokens_of
from reasoning_pipeline.verifier.expressions import ALGEBRA, NeedsAlgebra, parse_expression
from reasoning_pipeline.verifier.spelling import ascii_latex
from reasoning_pipeline.verifier.units import is_bare_unit, is_unit_phrase

Answer = tuple[Any, ...]

_OPEN, _CLOSE = {"(", "[", "{", "\\{"}, {")", "]", "}", "\\}"}
_RELATIONS = {"=", "<", ">", "<=", ">=", "!="}
_TRAILING = {".", ",", ";", "\\\\", "\\"}
_QUALIFIER = re.compile(r"(?i)[\s,;(]*(for (all|any|every|each|some|integers?|positive)|where|with)\b")
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_NOTHING = {"no solution", "no solutions", "empty set", "the empty set", "no real solution", "no real solutions"}
_INFINITY = ("expr", ("s", "infty"))
_MINUS_INFINITY = ("expr", parse_expression(tokens_of(r"-\infty")))
REALS = ("seq", "(", ")", (_MINUS_INFINITY, _INFINITY))


@lru_cache(maxsize=8192)
def read(text: str) -> tuple[Answer, ...]:
    r"""The readings of one answer, the likelier first.

    Example:
        read(r"x = \frac12") == (("eq", (("expr", ("s", "x")), ("expr", ...))),)
    """
    text = check(text)
    readings = []
    if "," in text and "(" not in text and "[" not in text:
        plain = _GROUPED.sub(lambda match: match.group().replace(",", ""), ascii_latex(text))
        if "," not in plain.rstrip(" ,.;") and plain != text:
            readings.append(_read(tokens_of(plain), plain))
    readings.append(_read(tokens_of(text), text))
    return tuple(readings)


def _read(tokens: Sequence[Token], text: str = "") -> Answer:
    while tokens and tokens[-1].kind == "operator" and tokens[-1].value in _TRAILING:
        tokens = tokens[:-1]
    while tokens and tokens[-1].kind == "text" and not tokens[-1].value.strip(" .,;:"):
        tokens = tokens[:-1]
    if not tokens:
        raise Unreadable("nothing in the box")
    tokens = _outward_brackets(tokens)
    if any(token.kind == "command" and token.value in ALGEBRA for token in tokens):
        raise NeedsAlgebra("a sum, integral, limit or congruence")
    if _is_prose(tokens):
        return _prose(tokens, text)
    groups, commas = _split(tokens, "operator", {";"}), _split(tokens, "operator", {","})
    if groups[1] and commas[1]:  # p=5, q=2; p=7, q=2
        return ("list", tuple(_named_group(_read(part)) for part in groups[0] if part))
    parts, joined = _split_list(tokens)
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


def _named_group(group: Answer) -> Answer:
    """`p = 5, q = 2` as `(p, q) = (5, 2)`, where it is one of several such groups."""
    if group[0] == "list" and group[1] and all(item[0] == "eq" and len(item[1]) == 2 for item in group[1]):
        sides = [("seq", "(", ")", tuple(item[1][side] for item in group[1])) for side in (0, 1)]
        return ("eq", tuple(sides))
    return group


def _is_prose(tokens: Sequence[Token]) -> bool:
    """Words and nothing to compute: text, letters and punctuation, at least one of them a text."""
    texts = [token for token in tokens if token.kind == "text" and not _connector(token)]
    return bool(texts) and all(
        token.kind in ("text", "letter") or (token.kind == "operator" and token.value in ",.;()-'{}")
        for token in tokens
    )


def _prose(tokens: Sequence[Token], text: str) -> Answer:
    written = " ".join(token.value for token in tokens)
    words = words_of(text or written)
    if words in ("all real numbers", "all reals", "real numbers"):
        return REALS
    if words in ("infinity", "infinitely many"):
        return _INFINITY
    return ("list", ()) if words in _NOTHING else ("text", words)


def words_of(text: str) -> str:
    r"""Lower-case words of a text without LaTeX dress: `\text{(A)}` is "a", `The line, circle` is "line circle"."""
    text = re.sub(
        r"\\(?:text\w*|mbox|mathrm|mathbf|quad|qquad|left|right|operatorname)(?![A-Za-z])|\\.|[$~]", " ", text
    )
    words = [word for word in re.findall(r"[^\W_]+", text.lower()) if word != "and"]
    if len(words) > 1 and words[0] in ("a", "an", "the"):
        words = words[1:]
    return " ".join(words)


def _connector(token: Token) -> str:
    if token.kind == "command" and token.value in ("lor", "land"):
        return "or" if token.value == "lor" else "and"
    word = token.value.strip(" ,;").lower() if token.kind == "text" else ""
    return word if word in ("or", "and") else ""


def _split_list(tokens: Sequence[Token]) -> tuple[list[Sequence[Token]], str]:
    """Parts between commas, semicolons, "and" and "or" outside all brackets."""
    parts: list[Sequence[Token]] = []
    joined, start = ",", 0
    if _connector(tokens[0]) or _connector(tokens[-1]):
        raise Unreadable("a connecting word that connects nothing")
    for index, token, depth in _outside(tokens):
        connector = _connector(token)
        if depth == 0 and (connector or (token.kind == "operator" and token.value in (",", ";"))):
            joined = connector or joined
            parts.append(tokens[start:index])
            start = index + 1
    parts.append(tokens[start:])
    return [part for part in parts if part], joined


def _outside(tokens: Sequence[Token]) -> list[tuple[int, Token, int]]:
    depth, rows = 0, []
    for index, token in enumerate(tokens):
        closes = token.kind == "end" or (token.kind == "operator" and token.value in _CLOSE)
        depth -= closes
        rows.append((index, token, depth + closes))
        depth += token.kind == "begin" or (token.kind == "operator" and token.value in _OPEN)
        if depth < 0:
            raise Unreadable("a bracket is closed that was never opened")
    if depth:
        raise Unreadable("a bracket is never closed")
    return rows


def _split(tokens: Sequence[Token], kind: str, values: set[str]) -> tuple[list[Sequence[Token]], list[str]]:
    parts, found, start = [], [], 0
    for index, token, depth in _outside(tokens):
        if depth == 0 and token.kind == kind and token.value in values:
            parts.append(tokens[start:index])
            found.append(token.value)
            start = index + 1
    return [*parts, tokens[start:]], found


def _item(tokens: Sequence[Token]) -> Answer:
    tokens = _without_qualifier(tokens)
    if not tokens:
        raise Unreadable("an empty place")
    if len(tokens) == 1:
        single = _single(tokens[0])
        if single:
            return single
    for reader in (_membership, _set_algebra, _relation, _label, _ratio, _bracketed, _reals, _with_unit):
        answer = reader(tokens)
        if answer is not None:
            return answer
    if _is_prose(tokens):
        return _prose(tokens, "")
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


def _without_qualifier(tokens: Sequence[Token]) -> Sequence[Token]:
    r"""`f(x) = x \text{ for all } x` without its tail, where the tail speaks of a letter that the head uses."""
    for index, token in enumerate(tokens[1:], start=1):
        if (token.kind == "text" and _QUALIFIER.match(token.value)) or token == ("command", "forall"):
            head = {part.value for part in tokens[:index] if part.kind == "letter"}
            tail = {part.value for part in tokens[index:] if part.kind == "letter"} | set(words_of(token.value).split())
            if head & tail:
                return tokens[:index]
    return tokens


def _single(token: Token) -> Answer | None:
    if token.kind == "text":
        return _prose([token], token.value)
    if token == ("command", "emptyset"):
        return ("list", ())
    if token == ("command", "mathbbR"):
        return REALS
    if token.kind == "command" and token.value.startswith("mathbb"):
        return ("text", token.value)
    return None


def _membership(tokens: Sequence[Token]) -> Answer | None:
    sides, found = _split(tokens, "command", {"in"})
    if len(found) != 1 or not sides[0] or not sides[1]:
        return None
    if not all(token.kind in ("letter", "command", "operator", "number") for token in sides[0]):
        raise Unreadable("a membership that is not about variables")
    return _item(sides[1])


def _set_algebra(tokens: Sequence[Token]) -> Answer | None:
    for command, kind in (("cup", "union"), ("cap", "meet"), ("setminus", "minus")):
        parts, found = _split(tokens, "command", {command})
        if found:
            items = tuple(_item(part) for part in parts if part)
            if len(items) != len(parts):
                raise Unreadable(f"\\{command} without two sides")
            return (kind, items) if kind != "minus" else ("minus", items[0], items[1])
    for index, token, depth in _outside(tokens):
        if depth == 0 and token.value == "-" and 0 < index < len(tokens) - 1 and tokens[index + 1].value == "\\{":
            return ("minus", _item(tokens[:index]), _item(tokens[index + 1 :]))
    return None


def _relation(tokens: Sequence[Token]) -> Answer | None:
    exact, found = _split(tokens, "command", {"approx"})
    if len(found) == 1 and not exact[0]:
        return ("approx", _item(exact[1]), _item(exact[1]))
    if found:  # "1/3 ≈ 0.33" answers 1/3; "x ≈ 11" answers 11
        left = _item(exact[0])
        return (
            ("eq", (left, *map(_item, exact[1:])))
            if left[0] == "expr" and left[1][0] == "s"
            else ("approx", left, _item(exact[-1]))
        )
    if any(
        token.kind == "command" and token.value in ("sim", "equiv", "to", "implies", "Rightarrow", "iff")
        for token in tokens
    ):
        raise Unreadable("a relation that is not an equation or inequality")
    parts, operators = _split(tokens, "operator", _RELATIONS)
    if not operators:
        return None
    if not all(parts):
        if operators == ["="] and parts[1] and not parts[0]:
            return _item(parts[1])
        raise Unreadable("an equation without two sides")
    sides = tuple(_applied(part) or _item(part) for part in parts)
    if set(operators) == {"="}:
        return ("eq", sides)
    return ("rel", sides, tuple(operators))


def _applied(tokens: Sequence[Token]) -> Answer | None:
    """`x(t)` beside an equals sign is a function at an argument, whatever its letter."""
    if len(tokens) in (4, 6) and tokens[0].kind == "letter" and (tokens[1].value, tokens[-1].value) == ("(", ")"):
        arguments = tokens[2:-1:2]
        if all(token.kind in ("letter", "number") for token in arguments) and all(
            token.value == "," for token in tokens[3:-1:2]
        ):
            return ("expr", ("f", tokens[0].value, tuple(parse_expression([token]) for token in arguments)))
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
    parts, found = _split(tokens, "operator", {":"})
    if not found or not all(parts):
        return None
    last = _item(parts[-1])
    items = (*(_item(part) for part in parts[:-1]), last[1] if last[0] == "unit" else last)
    return ("unit", ("ratio", items), last[2]) if last[0] == "unit" else ("ratio", items)


def _bracketed(tokens: Sequence[Token]) -> Answer | None:
    first, last = tokens[0], tokens[-1]
    if first.kind != "operator" or first.value not in _OPEN or last.value not in _CLOSE:
        return None
    if any(depth == 0 for index, _, depth in _outside(tokens) if 0 < index < len(tokens) - 1):
        return None
    # _outside gives a closing bracket the depth of its inside, so depth 0 in between means that the first one closed
    inner = tokens[1:-1]
    if not inner and first.value in ("(", "["):
        raise Unreadable("empty brackets")
    if first.value in ("\\{", "{"):
        return _braced(inner, grouping=first.value == "{")
    items, _ = _split(inner, "operator", {",", ";"})
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
    bars, _ = _split(inner, "operator", {"|", ":"})
    if len(bars) == 2 and len(bars[0]) <= 3 and any(token.value in _RELATIONS for token in bars[1]):
        return _read(bars[1])  # {x | x > 3}
    if grouping:
        return _read(inner)
    answer = _read(inner)
    return answer if answer[0] == "list" else ("list", (answer,))


def _reals(tokens: Sequence[Token]) -> Answer | None:
    shown = "".join(token.value for token in tokens)
    if shown in ("mathbbR^+", "mathbbR^{+}", "mathbbR_+", "mathbbR_{>0}"):
        return ("seq", "(", ")", (("expr", parse_expression(tokens_of("0"))), _INFINITY))
    return None


def _with_unit(tokens: Sequence[Token]) -> Answer | None:
    if tokens[0].value == "dollar" and tokens[0].kind == "operator" and len(tokens) > 1:
        return ("unit", _item(tokens[1:]), "dollar")
    if tokens[0].value == "-" and len(tokens) > 2 and tokens[1] == ("operator", "dollar"):
        return ("unit", _item((tokens[0], *tokens[2:])), "dollar")
    if tokens[-1] == ("operator", "dollar") and len(tokens) > 1:
        return ("unit", _item(tokens[:-1]), "dollar")
    if len(tokens) > 1 and tokens[-1].kind == "letter" and tokens[0].kind in ("number", "operator", "command"):
        end = len(tokens)
        while end and tokens[end - 1].kind == "letter":
            end -= 1
        letters = "".join(token.value for token in tokens[end:])
        if end and is_bare_unit(letters) and tokens[end - 1].kind in ("number", "operator"):
            return ("unit", _item(tokens[:end]), letters)
    start = next((index for index, token in enumerate(tokens) if token.kind == "text"), None)
    if start is None:
        return None
    if start == 0:
        return _choice(tokens)
    head, tail = list(tokens[:start]), list(tokens[start:])
    if tail[0].value in ("st", "nd", "rd", "th"):  # 12^{\text{th}}
        if len(head) > 2 and head[-1].value == "{" and len(tail) > 1 and tail[1].value == "}":
            head.pop()
            tail.pop(1)
        if head[-1].value == "^":
            head.pop()
    words = words_of(" ".join(token.value for token in tail if token.kind == "text"))
    extra = "".join(token.value for token in tail if token.kind != "text")
    if not head or not re.fullmatch(r"(?:\^\{?-?\d\}?|[/.()])*", extra) or not is_unit_phrase(words):
        raise Unreadable("words beside the value")
    if words in ("percent", "pct", "percentage", "per cent"):
        return ("expr", ("%", parse_expression(head)))
    if words in ("degree", "degrees"):
        return ("expr", ("deg", parse_expression(head)))
    exponent = re.search(r"\^\{?(-?\d)", extra)
    return ("unit", _item(head), f"{words} ^{exponent[1]}" if exponent else words)


def _choice(tokens: Sequence[Token]) -> Answer | None:
    r"""`\text{(A) } 5`: a choice letter followed by the value of that choice."""
    if len(tokens) > 1 and re.fullmatch(r"\s*\(?([A-J])[).:]+\s*", tokens[0].value):
        return ("choice", words_of(tokens[0].value))
    raise Unreadable("words beside the value")


__all__ = ["REALS", "Answer", "NeedsAlgebra", "is_word", "read", "words_of"]
