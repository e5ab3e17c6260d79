r"""Intervals, inequalities and their unions as one thing: a sorted list of segments of the real line.

So `x < 2 \text{ or } x > 3`, `(-\infty, 2) \cup (3, \infty)` and `\mathbb{R} \setminus [2, 3]` are the same answer. The
order of endpoints is decided with floats, their equality by the same exact rules as everything else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from reasoning_pipeline.verifier.answers import REALS, Answer
from reasoning_pipeline.verifier.bounds import Unreadable
from reasoning_pipeline.verifier.exact import rational
from reasoning_pipeline.verifier.numeric import real_value, variables
from reasoning_pipeline.verifier.shapes import expand_plus_minus
from reasoning_pipeline.verifier.trees import MINUS_ONE, Tree, substitute, times


@dataclass(frozen=True)
class Segment:
    """From `low` to `high`, with or without the ends. A point has both ends equal and included."""

    low: float
    low_in: bool
    high: float
    high_in: bool
    low_tree: Tree
    high_tree: Tree


_INF: Tree = ("s", "infty")
_MINUS_INF: Tree = ("*", (MINUS_ONE, _INF))
_LINE = Segment(-math.inf, False, math.inf, False, _MINUS_INF, _INF)
_FLIP = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!=", "=": "="}


def segments(answer: Answer) -> list[Segment] | None:
    """The set of reals that an answer describes, or None when it does not describe one with known ends."""
    if answer == REALS:
        return [_LINE]
    answer = expand_plus_minus(answer)
    kind = answer[0]
    if kind == "seq" and len(answer[3]) == 2 and all(item[0] == "expr" for item in answer[3]):
        return _interval(answer[3][0][1], answer[1] == "[", answer[3][1][1], answer[2] == "]")
    if are_relations(answer):  # x > 2, x < 5 are both; x < 2, x > 5 can only be one or the other
        return segments(("meet", answer[1])) or segments(("union", answer[1]))
    if kind == "list" and all(item[0] == "expr" for item in answer[1]):
        points = [real_value(item[1]) for item in answer[1]]
        if any(point is None or math.isinf(point) for point in points):
            return None
        return _merged(
            [
                Segment(x, True, x, True, item[1], item[1])
                for x, item in zip(points, answer[1], strict=True)
                if x is not None
            ]
        )
    if kind == "expr":
        return segments(("list", (answer,)))
    if kind == "union":
        parts = [segments(item) for item in answer[1]]
        return (
            None
            if any(part is None for part in parts)
            else _merged([segment for part in parts if part for segment in part])
        )
    if kind in ("meet", "minus"):
        items = answer[1] if kind == "meet" else answer[1:]
        first, *others = [segments(item) for item in items]
        for other in others:
            if first is None or other is None:
                return None
            first = _intersection(first, other if kind == "meet" else _complement(other))
        return first
    if kind == "eq" and answer[1][0][0] == "expr" and answer[1][0][1][0] == "s":
        return segments(answer[1][-1])
    if kind == "rel":
        return _inequality(answer[1], answer[2])
    return None


def are_relations(answer: Answer) -> bool:
    """Several inequalities side by side."""
    return answer[0] == "list" and len(answer[1]) > 1 and all(item[0] == "rel" for item in answer[1])


def variable_of(answer: Answer) -> str | None:
    """The variable that an inequality speaks of."""
    if answer[0] != "rel":
        return None
    names = set().union(*(variables(side[1]) for side in answer[1] if side[0] == "expr"))
    return names.pop() if len(names) == 1 else None


def is_solved(inequality: Answer) -> bool:
    """Whether an inequality says where its variable is: the variable alone (or its absolute value) beside bounds."""
    for side in inequality[1]:
        if side[0] != "expr":
            return False
        if variables(side[1]) and side[1][0] not in ("s", "f"):
            return False
    return True


def _interval(low: Tree, low_in: bool, high: Tree, high_in: bool) -> list[Segment] | None:
    a, b = real_value(low), real_value(high)
    if a is None or b is None or a > b or (a == b and not (low_in and high_in)):
        return None
    return [Segment(a, low_in and not math.isinf(a), b, high_in and not math.isinf(b), low, high)]


def _inequality(sides: tuple[Answer, ...], operators: tuple[str, ...]) -> list[Segment] | None:
    if any(side[0] != "expr" for side in sides):
        return None
    result: list[Segment] | None = [_LINE]
    trees = [side[1] for side in sides]
    middles = {tree for tree in trees if real_value(tree) is None}
    if len(middles) != 1:
        return None
    for left, operator, right in zip(trees, operators, trees[1:], strict=False):
        if operator == "=" or (real_value(left) is None) == (real_value(right) is None):
            return None
        tree, bound, direction = (left, right, operator) if real_value(left) is None else (right, left, _FLIP[operator])
        part = _solved(tree, direction, bound)
        if part is None or result is None:
            return None
        result = _intersection(result, part)
    return result


def _solved(tree: Tree, operator: str, bound: Tree) -> list[Segment] | None:
    """`tree operator bound`, for a variable, a linear expression in one, an absolute value, or any unknown whole."""
    if tree[0] == "f" and tree[1] == "abs":
        negative = times((MINUS_ONE, bound))
        if operator in ("<", "<="):
            upper, lower = _solved(tree[2][0], operator, bound), _solved(tree[2][0], _FLIP[operator], negative)
            return None if upper is None or lower is None else _intersection(upper, lower)
        outer = [_solved(tree[2][0], operator, bound), _solved(tree[2][0], _FLIP[operator], negative)]
        return None if None in outer else _merged([segment for part in outer if part for segment in part])
    slope_offset = _linear(tree)
    if slope_offset is not None:
        slope, offset = slope_offset
        if (slope, offset) != (1, 0):
            bound = times((("+", (bound, ("n", -offset))), ("n", 1 / slope)))
        operator = _FLIP[operator] if slope < 0 else operator
    elif tree[0] != "f":
        return None  # `f(x) < 1` may be about the value f(x); `x^2 < 1` is about x
    value = real_value(bound)
    if value is None:
        return None
    closed = operator in ("<=", ">=")
    if operator == "!=":
        return _complement([Segment(value, True, value, True, bound, bound)])
    if operator in ("<", "<="):
        return [Segment(-math.inf, False, value, closed, _MINUS_INF, bound)]
    return [Segment(value, closed, math.inf, False, bound, _INF)]


def _linear(tree: Tree) -> tuple[Fraction, Fraction] | None:
    """(slope, offset) of a tree that is linear with rational coefficients in its one variable."""
    names = variables(tree)
    if len(names) != 1 or tree[0] == "f":
        return None
    try:
        at = [rational(substitute(tree, next(iter(names)), ("n", Fraction(x)))) for x in (0, 1, 3)]
    except Unreadable:
        return None
    if at[0] is None or at[1] is None or at[2] is None:
        return None
    slope = at[1] - at[0]
    return (slope, at[0]) if slope and at[2] == at[0] + 3 * slope else None


def _merged(parts: list[Segment]) -> list[Segment]:
    merged: list[Segment] = []
    for part in sorted(parts, key=lambda s: (s.low, not s.low_in)):
        last = merged[-1] if merged else None
        if last and (part.low < last.high or (_near(part.low, last.high) and (part.low_in or last.high_in))):
            if (part.high, part.high_in) > (last.high, last.high_in):
                merged[-1] = Segment(last.low, last.low_in, part.high, part.high_in, last.low_tree, part.high_tree)
        else:
            merged.append(part)
    return merged


def _complement(parts: list[Segment]) -> list[Segment]:
    gaps: list[Segment] = []
    low, low_in, low_tree = -math.inf, False, _MINUS_INF
    for part in _merged(parts):
        if part.low > low or (part.low == low and low_in and not part.low_in):
            gaps.append(Segment(low, low_in, part.low, not part.low_in, low_tree, part.low_tree))
        low, low_in, low_tree = part.high, not part.high_in, part.high_tree
    if low < math.inf:
        gaps.append(Segment(low, low_in, math.inf, False, low_tree, _INF))
    return gaps


def _intersection(first: list[Segment], second: list[Segment]) -> list[Segment]:
    common = []
    for a in first:
        for b in second:
            low = max(a, b, key=lambda s: (s.low, not s.low_in))
            high = min(a, b, key=lambda s: (s.high, s.high_in))
            if low.low < high.high or (low.low == high.high and low.low_in and high.high_in):
                common.append(Segment(low.low, low.low_in, high.high, high.high_in, low.low_tree, high.high_tree))
    return _merged(common)


def _near(a: float, b: float) -> bool:
    return a == b or math.isclose(a, b, rel_tol=1e-12)
