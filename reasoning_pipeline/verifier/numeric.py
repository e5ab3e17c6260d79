r"""The numeric half of comparing two formulas: their values at a few points.

With machine floats the values refuse: if they differ clearly at one point, the formulas are not equal. With 60 digits
(in a worker, where mpmath is) the same walk also accepts: formulas that agree to 50 digits at several random points,
wherever both are real, are equal for every purpose of grading. Unlike a rounded comparison this tells
1/2^99 from 1/2^98, and pi from 3.14159265358979.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from reasoning_pipeline.verifier.bounds import MAX_EXPONENT, Unreadable
from reasoning_pipeline.verifier.trees import Tree


class NoValue(Unreadable):
    """No number here: an unknown function, infinity, an overflow."""


# Around 1, where most formulas are real; one far out and two negative, where max(42, x) and |x| show what they are.
_POINTS = (0.6180339, 1.3247179, 0.2910437, 2.1557721, 0.8813735, 61.7320508, -0.7392841, -43.6180339)
POINTS = len(_POINTS)


class FloatMath:
    """Machine arithmetic. `peak` remembers the largest magnitude met, which bounds the rounding error."""

    def __init__(self) -> None:
        self.peak = 0.0

    pi, e = math.pi, math.e

    def number(self, value: Fraction) -> complex:
        try:
            return complex(value.numerator / value.denominator)
        except OverflowError:
            raise NoValue("overflow") from None

    def seen(self, value: complex) -> complex:
        size = abs(value)
        if not size < 1e150:
            raise NoValue("overflow")
        self.peak = max(self.peak, size)
        return value

    def function(self, name: str) -> Callable[..., complex]:
        return _FLOAT[name]


def _real(value: complex) -> float:
    if abs(value.imag) > 1e-12 * max(1.0, abs(value.real)):
        raise NoValue("not real")
    return value.real


_FLOAT: dict[str, Callable[..., complex]] = {
    "sin": cmath.sin, "cos": cmath.cos, "tan": cmath.tan, "arcsin": cmath.asin, "arccos": cmath.acos,
    "arctan": cmath.atan, "sinh": cmath.sinh, "cosh": cmath.cosh, "tanh": cmath.tanh, "ln": cmath.log, "exp": cmath.exp,
    "abs": lambda x: complex(abs(x)), "floor": lambda x: complex(math.floor(_real(x) + 1e-9)),
    "ceil": lambda x: complex(math.ceil(_real(x) - 1e-9)), "gamma": lambda x: complex(math.gamma(_real(x))),
    "real": lambda x: complex(_real(x)), "power": lambda x, y: x**y,
}  # fmt: skip
_RECIPROCAL = {"cot": "tan", "sec": "cos", "csc": "sin", "coth": "tanh"}
_ARC_RECIPROCAL = {"arccot": "arctan", "arcsec": "arccos", "arccsc": "arcsin"}
_CIRCULAR = {"sin", "cos", "tan", "cot", "sec", "csc"}


def variables(tree: Any) -> set[str]:
    """Names of the variables in a tree; pi, e and i are constants."""
    if not isinstance(tree, tuple) or not tree:
        return set()
    if tree[0] == "s":
        return set() if tree[1] in ("pi", "e", "i", "infty") else {tree[1]}
    return set().union(*(variables(part) for part in tree)) if tree[0] != "n" and tree[0] != "d" else set()


def evaluate(tree: Tree, values: dict[str, Any], calculator: Any) -> Any:
    """The value of a tree where the variables have these values; raises `NoValue`."""

    def walk(node: Tree, *, angle: bool = False) -> Any:
        kind = node[0]
        if kind in ("n", "d"):
            return calculator.seen(calculator.number(node[1]))
        if kind == "s":
            return constant(node[1])
        if kind == "+":
            return calculator.seen(sum(walk(term, angle=angle) for term in node[1]))
        if kind == "*":
            product: Any = calculator.number(Fraction(1))
            for factor in node[1]:
                product = calculator.seen(product * walk(factor, angle=angle))
            return product
        if kind == "^":
            return power(walk(node[1]), node[2])
        if kind == "%":
            return walk(node[1]) / 100
        if kind == "deg":
            return walk(node[1]) * calculator.pi / 180 if angle else walk(node[1])
        if kind == "f":
            return calculator.seen(function(node[1], node[2]))
        raise NoValue(f"no value for {kind}")

    def constant(name: str) -> Any:
        if name in values:
            return values[name]
        if name == "i":
            return calculator.number(Fraction(1)) * 1j
        if name in ("pi", "e"):
            return getattr(calculator, name) + calculator.number(Fraction(0))
        raise NoValue(name)

    def power(base: Any, exponent: Tree) -> Any:
        raised = walk(exponent)
        if abs(raised) > MAX_EXPONENT or (base == 0 and raised.real <= 0):
            raise NoValue("a power out of range")
        if raised == int(raised.real) and abs(raised) < 1000:
            return calculator.seen(base ** int(raised.real))
        return calculator.seen(calculator.function("power")(base, raised))

    def function(name: str, arguments: Sequence[Tree]) -> Any:
        x = walk(arguments[0], angle=name in _CIRCULAR)
        if name in _RECIPROCAL:
            return 1 / calculator.function(_RECIPROCAL[name])(x)
        if name in _ARC_RECIPROCAL:
            return calculator.function(_ARC_RECIPROCAL[name])(1 / x)
        if name == "root":
            index = walk(arguments[1])
            real = calculator.function("real")(x)
            if real.real < 0 and index == int(index.real) and int(index.real) % 2:
                return -calculator.function("power")(-real, 1 / index)
            return calculator.function("power")(x, 1 / index)
        gamma = calculator.function("gamma")
        if name == "factorial":
            return gamma(x + 1)
        if name == "binom":
            y = walk(arguments[1])
            return gamma(x + 1) / (gamma(y + 1) * gamma(x - y + 1))
        if name in ("max", "min"):
            reals = [calculator.function("real")(walk(argument)).real for argument in arguments]
            return (max if name == "max" else min)(reals) + 0j
        if len(arguments) == 1 and name == "lg":
            return calculator.function("ln")(x) / calculator.function("ln")(calculator.number(Fraction(10)))
        if len(arguments) == 1 and name in _FLOAT:
            return calculator.function(name)(x)
        raise NoValue(name)

    try:
        return walk(tree)
    except (ZeroDivisionError, OverflowError, ValueError, TypeError, AttributeError) as error:
        raise NoValue(str(error)) from None


def sample_points(names: Sequence[str], scale: Callable[[float], Any] = complex) -> list[dict[str, Any]]:
    """The same few values for the same variables, in every process and run."""
    if not names:
        return [{}]
    rows = []
    for shift in range(POINTS):
        rows.append(
            {name: scale(_POINTS[(shift + 2 * index) % POINTS] + 0.01 * index) for index, name in enumerate(names)}
        )
    return rows


def loses_domain(gold: Tree, x: Any, y: Any) -> bool:
    r"""The reference keeps its value real by an absolute value, the answer does not: `\ln x` for `\ln|x|`."""
    return abs(x.imag) <= 1e-9 * max(1.0, abs(x)) and abs(y.imag) > 1e-9 * max(1.0, abs(y)) and _has_abs(gold)


def _has_abs(tree: Any) -> bool:
    return isinstance(tree, tuple) and (tree[:2] == ("f", "abs") or any(_has_abs(part) for part in tree))


def clearly_different(a: Tree, b: Tree) -> bool:
    """True when machine floats prove the formulas unequal. False says nothing."""
    for values in sample_points(sorted(variables(a) | variables(b))):
        calculator = FloatMath()
        try:
            x, y = evaluate(a, values, calculator), evaluate(b, values, calculator)
        except Unreadable:
            continue
        complex_value = any(abs(z.imag) > 1e-9 * max(1.0, abs(z)) for z in (x, y))
        if values and complex_value:
            if loses_domain(a, x, y):
                return True
            continue  # branches of roots and logarithms differ harmlessly off the real line
        if abs(x - y) > 1e-6 * max(calculator.peak, 1e-300):
            return True
    return False


def real_value(tree: Tree) -> float | None:
    """The value of a real constant, with signed infinity; None for anything else."""
    if tree == ("s", "infty"):
        return math.inf
    if tree[0] == "*" and len(tree[1]) == 2 and tree[1][1] == ("s", "infty") and tree[1][0][0] == "n":
        return math.copysign(math.inf, tree[1][0][1])
    if variables(tree):
        return None
    try:
        return _real(evaluate(tree, {}, FloatMath()))
    except Unreadable:
        return None
