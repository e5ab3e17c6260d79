r"""Equations, inequalities and approximations, and the quantities that stand left of a value."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reasoning_pipeline.verifier.bounds import TooLarge, Unreadable
from reasoning_pipeline.verifier.cleaning import Token
from reasoning_pipeline.verifier.sets import Reader, applied
from reasoning_pipeline.verifier.splitting import RELATIONS, equation_sides, spelled, split
from reasoning_pipeline.verifier.wording import Answer, denies

OTHER_RELATIONS = {"sim", "equiv", "to", "implies", "Rightarrow", "iff"}
_HEDGES = {"pm", "approx", "lor", "land"}
_CONDITION = re.compile(
    r"(?i)\b(?:if|iff|when|whenever|while|provided|assuming|suppose|supposing|given|because|since|then|so|but)\b"
)


def equality(tokens: Sequence[Token], item: Reader) -> Answer | None:
    return relation(tokens, item) if equation_sides(tokens) else None


def relation(tokens: Sequence[Token], item: Reader) -> Answer | None:
    exact, found = split(tokens, "command", {"approx"})
    if len(found) == 1 and not exact[0]:
        return ("approx", item(exact[1]), item(exact[1]))
    if found:  # "1/3 ≈ 0.33" answers 1/3; "x ≈ 11" answers 11
        left, *others = map(item, exact)
        return ("eq", (left, *others)) if left[0] == "expr" and left[1][0] == "s" else ("approx", left, others[-1])
    if any(token.kind == "command" and token.value in OTHER_RELATIONS for token in tokens):
        raise Unreadable("a relation that is not an equation or inequality")
    parts, operators = split(tokens, "operator", RELATIONS)
    if not operators:
        return None
    if not all(parts):
        if operators == ["="] and parts[1] and not parts[0]:
            return item(parts[1])
        raise Unreadable("an equation without two sides")
    if set(operators) == {"="}:
        return ("eq", (*(_quantity(part, item) for part in parts[:-1]), applied(parts[-1]) or item(parts[-1])))
    sides = tuple(applied(part) or item(part) for part in parts)
    return ("rel", sides, tuple(operators))


def _quantity(tokens: Sequence[Token], item: Reader) -> Answer:
    r"""What stands left of an equals sign, kept as text where it has no reading: `\angle ABC`, `P(A \cap B)`."""
    try:
        return applied(tokens) or item(tokens)
    except TooLarge:
        raise
    except Unreadable:
        named = any(token.kind in ("letter", "text", "command", "begin") for token in tokens)
        conditional = any(token.kind == "text" and _CONDITION.search(token.value) for token in tokens)
        if not named or conditional or denies(tokens) or any(token.value in _HEDGES for token in tokens):
            raise
        return ("quantity", spelled(tokens))
