"""Equations as curves: the difference of their sides, cleared of denominators, and what it is linear in."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from reasoning_pipeline.verifier.answers import Answer
from reasoning_pipeline.verifier.bounds import Unreadable
from reasoning_pipeline.verifier.exact import normal_form
from reasoning_pipeline.verifier.numeric import variables
from reasoning_pipeline.verifier.trees import MINUS_ONE, ONE, Tree, substitute, times


def difference_of_sides(equation: Answer) -> Tree | None:
    if len(equation[1]) != 2 or any(side[0] != "expr" for side in equation[1]):
        return None
    return difference(equation[1][0][1], equation[1][1][1])


def cleared(curve: Tree | None) -> Tree | None:
    """A difference of sides without denominators that hold variables: `y - C/x` is `xy - C`."""
    if curve is None or curve[0] != "+":
        return curve
    terms = [_factors(term) for outer in curve[1] for term in _terms(outer)]
    below = [Counter(part for part in map(_denominator, factors) if part is not None) for factors in terms]
    denominators: Counter[Tree] = Counter()
    for counts in below:
        denominators |= counts
    if not denominators:
        return curve
    whole = []
    for factors, counts in zip(terms, below, strict=True):
        kept = (*(factor for factor in factors if _denominator(factor) is None), *(denominators - counts).elements())
        whole.append(times(kept) if kept else ONE)
    return ("+", tuple(whole))


def _denominator(factor: Tree) -> Tree | None:
    r"""`x` of `\frac{1}{x}`, `e^x` of `e^{-x}`; None for a factor that divides by nothing with a variable in it."""
    if factor[0] != "^" or not variables(factor):
        return None
    exponent = factor[2]
    if exponent[0] == "n" and exponent[1] < 0:
        return factor[1] if exponent == MINUS_ONE else ("^", factor[1], ("n", -exponent[1]))
    if exponent[0] == "*" and exponent[1][0][0] == "n" and exponent[1][0][1] < 0:
        return (
            "^",
            factor[1],
            times((MINUS_ONE, *exponent[1])) if exponent[1][0] != MINUS_ONE else times(exponent[1][1:]),
        )
    return None


def _terms(tree: Tree) -> list[Tree]:
    """The terms of a sum, or of a negated one."""
    if tree[0] == "+":
        return [term for outer in tree[1] for term in _terms(outer)]
    if tree[0] == "*" and len(tree[1]) == 2 and tree[1][0] == MINUS_ONE and tree[1][1][0] == "+":
        return [times((MINUS_ONE, term)) for term in _terms(tree[1][1])]
    return [tree]


def _factors(term: Tree) -> tuple[Tree, ...]:
    return term[1] if term[0] == "*" else (term,)


def difference(left: Tree, right: Tree) -> Tree:
    return ("+", (left, times((MINUS_ONE, right))))


def is_linear(curve: Tree, name: str) -> bool:
    """Whether one variable occurs in a curve with exponent one only, so that it can be solved for in one way."""
    try:
        form = normal_form(curve)
    except Unreadable:
        return False
    for monomial, _ in form:
        for atom, exponent in monomial:
            if atom == ("s", name):
                if exponent != 1:
                    return False
            elif _mentions(atom, name):
                return False
    return True


def _mentions(atom: object, name: str) -> bool:
    if atom == ("s", name):
        return True
    return isinstance(atom, tuple | frozenset) and any(_mentions(part, name) for part in atom)


def at_one_point(tree: Tree, names: list[str]) -> Tree:
    """A tree of numbers only: the value that a constant would have everywhere."""
    for index, name in enumerate(names):
        tree = substitute(tree, name, ("n", Fraction(17 + 6 * index, 13 + 4 * index)))
    return tree
