"""Syntax trees: small nested tuples (their kinds are listed in `expressions`), and what is done to any of them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

Tree = tuple[Any, ...]


ONE, MINUS_ONE, HALF = ("n", Fraction(1)), ("n", Fraction(-1)), ("n", Fraction(1, 2))


def times(factors: tuple[Tree, ...]) -> Tree:
    """A product without nesting; the sign of a number is folded into the number."""
    flat: list[Tree] = []
    for factor in factors:
        flat.extend(factor[1] if factor[0] == "*" else (factor,))
    if len(flat) == 2 and flat[0] == MINUS_ONE and flat[1][0] in ("n", "d"):
        return (flat[1][0], -flat[1][1], *flat[1][2:])
    if len(flat) == 2 and flat[0] == MINUS_ONE and flat[1][0] == "b":
        return ("b", "-" + flat[1][1], flat[1][2])
    if len(flat) == 2 and flat[0] == MINUS_ONE and flat[1][0] in ("%", "deg"):
        return (flat[1][0], times((MINUS_ONE, flat[1][1])))
    return flat[0] if len(flat) == 1 else ("*", tuple(flat))


def over(top: Tree, bottom: Tree) -> Tree:
    """A quotient, which is a product with a reciprocal."""
    return times((top, ("^", bottom, MINUS_ONE))) if top != ONE else ("^", bottom, MINUS_ONE)


def contains(tree: Tree, kind: str) -> bool:
    """Whether a node of this kind occurs anywhere in the tree."""
    if not tree or tree[0] in ("n", "d", "s", "b"):
        return bool(tree) and tree[0] == kind
    return tree[0] == kind or any(contains(part, kind) for part in tree if isinstance(part, tuple))


def substitute(tree: Tree, name: str, value: Tree) -> Tree:
    """The tree with a variable replaced."""
    if tree == ("s", name):
        return value
    if tree and tree[0] in ("n", "d", "s", "b"):
        return tree
    return tuple(substitute(part, name, value) if isinstance(part, tuple) else part for part in tree)


def unknown_functions(tree: Tree) -> set[str]:
    """Names of the functions without a definition: f, g'."""
    if not isinstance(tree, tuple) or not tree or tree[0] in ("n", "d", "s", "b"):
        return set()
    own = {tree[1]} if tree[0] == "f" and len(tree[1].rstrip("'")) == 1 else set()
    return own.union(*(unknown_functions(part) for part in tree if isinstance(part, tuple)))
