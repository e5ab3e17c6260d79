r"""Sets as they are written: `x \in [0, 1]`, `A \cup B`, `\mathbb{R} - \{1\}`, `\{x \mid x > 3\}`.

The readers of `answers` are handed in, since a set holds answers and an answer may be a set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reasoning_pipeline.verifier.bounds import Unreadable
from reasoning_pipeline.verifier.cleaning import Token
from reasoning_pipeline.verifier.expressions import parse_expression
from reasoning_pipeline.verifier.splitting import RELATIONS, equation_sides, outside, split
from reasoning_pipeline.verifier.wording import REALS, Answer

Reader = Callable[[Sequence[Token]], Answer]


def applied(tokens: Sequence[Token]) -> Answer | None:
    """`x(t)` beside an equals sign is a function at an argument, whatever its letter."""
    if len(tokens) in (4, 6) and tokens[0].kind == "letter" and (tokens[1].value, tokens[-1].value) == ("(", ")"):
        arguments = tokens[2:-1:2]
        if all(token.kind in ("letter", "number") for token in arguments) and all(
            token.value == "," for token in tokens[3:-1:2]
        ):
            return ("expr", ("f", tokens[0].value, tuple(parse_expression([token]) for token in arguments)))
    return None


_SET_KINDS = {"seq", "list", "union", "meet", "minus", "text"}


def _is_set(answer: Answer) -> bool:
    """What may stand in set algebra; an inequality is the set of what fulfils it."""
    return (
        answer[0] in _SET_KINDS
        or answer[0] == "rel"
        or (answer[0] == "expr" and answer[1][0] == "s" and answer[1][1][0].isupper())
    )


def membership(tokens: Sequence[Token], item: Reader) -> Answer | None:
    r"""`x \in [0, 1]` is the interval. The head is a bare name: `x + 1 \in [0, 1]` says something else."""
    sides, found = split(tokens, "command", {"in"})
    if len(found) != 1 or not sides[0] or not sides[1] or equation_sides(tokens):
        return None
    head = applied(sides[0]) or item(sides[0])
    inside = item(sides[1])
    if not _is_variable(head) or inside[0] not in _SET_KINDS:
        raise Unreadable("a membership that is not about a variable and a set")
    return inside


def _is_variable(head: Answer) -> bool:
    """A letter, a function of letters, or a tuple of such."""
    if head[0] == "seq":
        return all(_is_variable(item) for item in head[3])
    if head[0] != "expr":
        return False
    tree = head[1]
    if tree[0] == "f":
        return len(tree[1].rstrip("'")) == 1 and all(argument[0] == "s" for argument in tree[2])
    return tree[0] == "s" and tree[1] not in ("pi", "infty", "e", "i")


def set_algebra(tokens: Sequence[Token], item: Reader) -> Answer | None:
    for command, kind in (("cup", "union"), ("cap", "meet"), ("setminus", "minus")):
        parts, found = split(tokens, "command", {command})
        if found:
            items = tuple(item(part) for part in parts if part)
            if len(items) != len(parts) or not all(_is_set(part) for part in items):
                raise Unreadable(f"\\{command} without two sets")
            return (kind, items) if kind != "minus" else ("minus", items[0], items[1])
    for index, token, depth in outside(tokens):
        if depth == 0 and token.value == "-" and 0 < index < len(tokens) - 1 and tokens[index + 1].value == "\\{":
            whole = item(tokens[:index])
            if not _is_set(whole):
                raise Unreadable("a set taken from what is none")
            return ("minus", whole, item(tokens[index + 1 :]))
    return None


def comprehension(inner: Sequence[Token], item: Reader, read: Reader) -> Answer | None:
    r"""`\{x \mid x > 3\}` and `\{x \in \mathbb{R} : x > 3\}`: a bare variable over the reals, and a condition on it."""
    bar = next((i for i, token, depth in outside(inner) if depth == 0 and token.value in ("|", ":")), 0)
    condition = inner[bar + 1 :]
    if not bar or not any(token.value in RELATIONS for token in condition):
        return None
    sides, found = split(inner[:bar], "command", {"in"})
    head = item(sides[0])
    over_reals = not found or (len(found) == 1 and item(sides[1]) == REALS)
    if not _is_variable(head) or head[0] != "expr" or not over_reals:
        raise Unreadable("a set whose head is not a variable over the reals")
    answer = read(condition)
    said = answer[1] if answer[0] in ("list", "meet", "union") else (answer,)
    if not all(item[0] in ("rel", "eq") and head in item[1] for item in said):
        raise Unreadable("a set whose condition is not about its variable")
    if answer[0] == "list":
        return ("meet", said)
    return ("list", (answer[1][-1] if answer[1][0] == head else answer[1][0],)) if answer[0] == "eq" else answer
