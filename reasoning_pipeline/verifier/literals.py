"""Numbers as they are written: which trees are literals, and which decimals stand for which numbers."""

from __future__ import annotations

from fractions import Fraction

from reasoning_pipeline.verifier.bounds import Unreadable
from reasoning_pipeline.verifier.exact import rational
from reasoning_pipeline.verifier.numeric import real_value
from reasoning_pipeline.verifier.trees import MINUS_ONE, Tree, contains

FLOAT_DIGITS = 15


def is_literal(tree: Tree, *, whole: bool = False) -> bool:
    """A number written as a number: 7, -2.50, 3/4, 2 1/3. With `whole`, only what can stand for an integer."""
    if tree[0] in ("n", "d"):
        return True
    if whole:
        return False
    if tree[0] == "*" and len(tree[1]) == 2 and tree[1][0] == MINUS_ONE and tree[1][1][0] == "+":
        tree = tree[1][1]  # -2 1/2
    if tree[0] == "+" and len(tree[1]) == 2:
        return tree[1][0][0] == "n" and tree[1][0][1] > 0 and _is_fraction(tree[1][1])
    return _is_fraction(tree)


def _is_fraction(tree: Tree) -> bool:
    if tree[0] == "^":
        return tree[1][0] in ("n", "d") and tree[2] == MINUS_ONE
    if tree[0] != "*":
        return False
    factors = [factor for factor in tree[1] if factor != MINUS_ONE]
    tops = [factor for factor in factors if factor[0] in ("n", "d")]
    bottoms = [factor for factor in factors if factor[0] == "^"]
    return len(tops) <= 1 and len(bottoms) == 1 and len(factors) == len(tops) + 1 and _is_fraction(bottoms[0])


def same_numeral(gold: Tree, answer: Tree) -> bool:
    r"""`52_8` wants those digits: with the base, or with none (the question names it), never with another base."""
    if gold[0] == answer[0] == "b":
        return gold[1:] == answer[1:]
    if gold[0] == "b":
        factors = answer[1] if answer[0] == "*" else (answer,)  # 4F is read as a product
        return all(part[0] in ("n", "s") for part in factors) and "".join(str(part[1]) for part in factors) == gold[1]
    return answer[2] == 10 and gold == ("n", Fraction(int(answer[1])))


def prints_as(gold: Tree, answer: Tree) -> bool:
    """A fraction that never ends, printed with every digit a float has (15 or more), is that fraction."""
    if answer[0] != "d" or gold[0] in ("n", "d"):
        return False
    try:
        value = rational(gold)
    except Unreadable:
        return False
    return value is not None and abs(value - answer[1]) <= abs(value) * Fraction(1, 10**FLOAT_DIGITS)


def _terminates(fraction: Fraction) -> bool:
    """Whether a fraction has a last decimal place."""
    rest = fraction.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


def rounds_to(gold: Tree, answer: Tree) -> bool:
    """A reference given as a rounded decimal, an answer given exactly that rounds to it."""
    if gold[0] != "d" or answer[0] in ("n", "d"):
        return False
    value = real_value(answer)
    if value is None or contains(answer, "d"):
        return False
    try:
        fraction = rational(answer)
    except Unreadable:
        return False
    # 3.14 says too little to stand for an irrational number; 3.142 says which one is meant
    if gold[2] < (2 if fraction is not None else 3):
        return False
    if fraction is not None and (_terminates(fraction) or gold[1].denominator < 10):
        return False  # 0.25 is a quarter and no rounding of 251/1000 or of 25/99
    return abs(Fraction(value) - gold[1]) <= Fraction(5, 10 ** (gold[2] + 1)) * Fraction(1_000_001, 1_000_000)
