r"""Trees without what changes nothing: a zero added, a factor of one, doubled signs, order. So copies are told apart.

`plain` undoes dress alone and computes nothing; `fold` also computes numbers and collects like terms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction

from reasoning_pipeline.verifier.bounds import Unreadable
from reasoning_pipeline.verifier.exact import rational
from reasoning_pipeline.verifier.trees import MINUS_ONE, ONE, Tree

_ZERO: Tree = ("n", Fraction(0))


def plain(tree: Tree) -> Tree:
    """Without zeros added, factors of one, doubled signs and powers of one or zero; in one order."""
    kind = tree[0]
    if kind == "d":
        return ("n", tree[1]) if tree[1].denominator == 1 else ("d", tree[1], tree[2] < 0)
    if kind in ("n", "s", "b"):
        return tree
    if kind == "+":
        terms = [part for term in tree[1] for part in _parts(plain(term), "+") if part != _ZERO]
        return _joined("+", terms, _ZERO)
    if kind == "*":
        return _product(plain(factor) for factor in tree[1])
    if kind == "^":
        return _power(plain(tree[1]), tree[2])
    if kind == "f" and tree[1] == "root":
        return _power(plain(tree[2][0]), ("^", tree[2][1], MINUS_ONE))
    if kind == "f":
        return ("f", tree[1], tuple(plain(argument) for argument in tree[2]))
    if kind in ("%", "deg"):
        return (kind, plain(tree[1]))
    if kind == "±":
        return ("±", tree[1], plain(tree[2]))
    return ("M", tree[1], tuple(tuple(plain(cell) for cell in row) for row in tree[2])) if kind == "M" else tree


def _parts(tree: Tree, kind: str) -> tuple[Tree, ...]:
    return tree[1] if tree[0] == kind else (tree,)


def _joined(kind: str, parts: list[Tree], neutral: Tree) -> Tree:
    if not parts:
        return neutral
    return parts[0] if len(parts) == 1 else (kind, tuple(sorted(parts, key=hash)))


def _product(factors: Iterable[Tree]) -> Tree:
    negative, kept = False, []
    for factor in (part for whole in factors for part in _parts(whole, "*")):
        value = factor
        if factor[0] in ("n", "d") and factor[1] < 0:
            negative, value = not negative, (factor[0], -factor[1], *factor[2:])
        if value == _ZERO:
            return _ZERO
        if value not in (ONE, ("d", Fraction(1), False)):
            kept.append(value)
    if negative and len(kept) == 1 and kept[0][0] in ("n", "d"):
        return (kept[0][0], -kept[0][1], *kept[0][2:])
    return _joined("*", [MINUS_ONE, *kept] if negative else kept, ONE)


def _power(base: Tree, exponent: Tree) -> Tree:
    try:
        known = rational(exponent)
    except Unreadable:
        known = None
    raised = ("n", known) if known is not None else plain(exponent)
    if raised == _ZERO and base != _ZERO:
        return ONE
    if ONE in (raised, base):
        return base
    if base[0] == "^" and raised == base[2] == MINUS_ONE:
        return base[1]  # one over one over x
    return ("^", base, raised)


def fold(tree: Tree) -> Tree:
    """A plain tree with its numbers computed and like terms collected: `\\sqrt{11 + 1}` is `\\sqrt{12}`."""
    kind = tree[0]
    if kind == "+":
        return _collected([fold(term) for term in tree[1]])
    if kind == "*":
        number, others = Fraction(1), []
        for factor in (part for whole in tree[1] for part in _parts(fold(whole), "*")):
            value = _number(factor)
            if value is None:
                others.append(factor)
            else:
                number *= value
        return _product([("n", number), *others]) if number else _ZERO
    if kind == "^":
        return _power(fold(tree[1]), fold(tree[2]))
    if kind == "f":
        return ("f", tree[1], tuple(fold(argument) for argument in tree[2]))
    return tree


def _collected(terms: list[Tree]) -> Tree:
    totals: Counter[Tree] = Counter()
    for term in terms:
        number, others = Fraction(1), []
        for factor in _parts(term, "*"):
            value = _number(factor)
            if value is None:
                others.append(factor)
            else:
                number *= value
        totals[_joined("*", others, ONE)] += number  # type: ignore[assignment]
    kept = [_product([("n", Fraction(number)), core]) for core, number in totals.items() if number]
    return _joined("+", kept, _ZERO)


def _number(tree: Tree) -> Fraction | None:
    if tree[0] in ("n", "d"):
        return tree[1]
    if tree[0] == "^" and tree[1][0] == "n" and tree[2] == MINUS_ONE and tree[1][1]:
        return 1 / tree[1][1]
    return None
