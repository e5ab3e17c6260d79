r"""The exact half of comparing two formulas: one normal form over the rationals.

Every tree becomes a polynomial {monomial: coefficient} whose monomials are powers of atoms: variables, constants,
square roots of primes, and whole subformulas that do not expand. Two formulas with the same normal form are equal; so
`\frac{1}{\sqrt3}`, `\frac{\sqrt{3}}{3}` and `3^{-1/2}` meet. Different normal forms prove nothing, unless both are
plain rationals.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

from reasoning_pipeline.verifier.bounds import MAX_BITS, MAX_EXPONENT, MAX_FACTORIAL, TooLarge, Unreadable
from reasoning_pipeline.verifier.trees import Tree

Monomial = frozenset[tuple[Tree, Fraction]]
"""Atom and exponent pairs; the empty monomial stands for 1."""
Polynomial = dict[Monomial, Fraction]
_ZERO, _ONE = Fraction(0), Fraction(1)
_UNIT: Monomial = frozenset()
_MAX_TERMS = 120
_MAX_POWER = 12


class NoNormalForm(Unreadable):
    """Division by zero, infinity in a sum, a matrix: nothing to compare exactly."""


@lru_cache(maxsize=8192)
def normal_form(tree: Tree) -> frozenset[tuple[Monomial, Fraction]]:
    """The normal form as a set, ready to compare; raises `TooLarge` or `NoNormalForm`."""
    return frozenset(_polynomial(tree).items())


def rational(tree: Tree) -> Fraction | None:
    """The value of a tree that is a rational number, else None."""
    try:
        terms = normal_form(tree)
    except NoNormalForm:
        return None
    if not terms:
        return _ZERO
    (monomial, coefficient), *others = terms
    return coefficient if not others and not monomial else None


def _polynomial(tree: Tree) -> Polynomial:
    kind = tree[0]
    if kind in ("n", "d"):
        return _constant(tree[1])
    if kind == "s":
        if tree[1] == "infty":
            raise NoNormalForm("infinity is not a number")
        return _atom(("s", tree[1]))
    if kind == "+":
        total: Polynomial = {}
        for term in tree[1]:
            _add_to(total, _polynomial(term))
        return total
    if kind == "*":
        product = _constant(_ONE)
        for factor in tree[1]:
            product = _multiply(product, _polynomial(factor))
        return product
    if kind == "^":
        return _raise(tree)
    if kind == "%":
        return _multiply(_polynomial(tree[1]), _constant(Fraction(1, 100)))
    if kind == "deg":
        return _multiply(_polynomial(tree[1]), _atom(("s", "°")))
    if kind == "f":
        return _function(tree[1], tree[2])
    raise NoNormalForm(f"no exact value for {kind}")


def _constant(value: Fraction) -> Polynomial:
    return {_UNIT: value} if value else {}


def _atom(atom: Tree) -> Polynomial:
    return {frozenset({(atom, _ONE)}): _ONE}


def _add_to(total: Polynomial, other: Polynomial) -> None:
    for monomial, coefficient in other.items():
        value = _fits(total.get(monomial, _ZERO) + coefficient)
        if value:
            total[monomial] = value
        else:
            total.pop(monomial, None)
    if len(total) > _MAX_TERMS:
        raise TooLarge("too many terms")


def _multiply(a: Polynomial, b: Polynomial) -> Polynomial:
    if len(a) * len(b) > _MAX_TERMS:  # leave the product standing as a product of two atoms
        return _multiply(_as_atom(a, _ONE), _as_atom(b, _ONE))
    total: Polynomial = {}
    for first, x in a.items():
        for second, y in b.items():
            _add_to(total, _monomial(first, second, _fits(x * y)))
    return total


def _monomial(a: Monomial, b: Monomial, coefficient: Fraction) -> Polynomial:
    """Product of two monomials; a prime to a power of one or more, and i squared, move into the coefficient."""
    exponents: dict[Tree, Fraction] = dict(a)
    for atom, exponent in b:
        exponents[atom] = exponents.get(atom, _ZERO) + exponent
    kept: list[tuple[Tree, Fraction]] = []
    for atom, exponent in exponents.items():
        remaining = exponent
        if atom[0] == "n":
            whole = math.floor(exponent)
            remaining = exponent - whole
            coefficient = _fits(coefficient * _rational_power(atom[1], whole))
        elif atom == ("s", "i") and exponent.denominator == 1:
            remaining = exponent % 2
            coefficient = -coefficient if exponent % 4 >= 2 else coefficient
        if remaining:
            kept.append((atom, remaining))
    return {frozenset(kept): coefficient}


def _raise(tree: Tree) -> Polynomial:
    base, exponent = _polynomial(tree[1]), None
    try:
        exponent = rational(tree[2])
    except TooLarge:
        raise TooLarge("a tower of exponents") from None
    if exponent is not None:
        return _power(base, exponent)
    if base.get(_UNIT, _ZERO) < 0 and len(base) == 1:
        # (-3)^n stays whole: signs do not split off symbolic powers
        return _atom(("^", base[_UNIT], _frozen(tree[2])))
    return _symbolic_power(base, _polynomial(tree[2]))


def _symbolic_power(base: Polynomial, exponent: Polynomial) -> Polynomial:
    """b^(x + y) = b^x b^y, and 2^(3x) is written over the base's own normal form."""
    product = _constant(_ONE)
    for monomial, coefficient in exponent.items():
        if not monomial:
            product = _multiply(product, _power(base, coefficient))
        else:
            atom = ("^", frozenset(base.items()), monomial)
            product = _multiply(product, {frozenset({(atom, coefficient)}): _ONE})
    return product


def _power(base: Polynomial, exponent: Fraction) -> Polynomial:
    if not exponent:
        return _constant(_ONE)
    if not base:
        if exponent < 0:
            raise NoNormalForm("division by zero")
        return {}
    if abs(exponent.numerator) > MAX_EXPONENT and not _is_variable(base):
        raise TooLarge(f"an exponent of {_short(exponent)}")
    if len(base) == 1:
        (monomial, coefficient), *_ = base.items()
        if exponent.denominator != 1 and any(
            inner.denominator == 1 and inner.numerator % 2 == 0 for _, inner in monomial
        ):
            return _as_atom(base, exponent)  # sqrt(x^2) is |x|, not x
        powers = frozenset((atom, inner * exponent) for atom, inner in monomial)
        return _multiply(_constant_power(coefficient, exponent), _monomial(powers, _UNIT, _ONE))
    if exponent.denominator == 1 and 1 < exponent <= _MAX_POWER and len(base) ** int(exponent) <= _MAX_TERMS**2:
        product = base
        for _ in range(int(exponent) - 1):
            product = _multiply(product, base)
        return product
    return _as_atom(base, exponent)


def _as_atom(base: Polynomial, exponent: Fraction) -> Polynomial:
    """A sum that stays whole. Its rational content is pulled out, so that 2x+2 and x+1 share one atom."""
    if exponent == 1 and len(base) == 1:
        return base
    content = base[min(base, key=hash)]  # any choice that equal sums share
    if exponent.denominator != 1:
        content = _square_content(base)
    scaled = frozenset((monomial, coefficient / content) for monomial, coefficient in base.items())
    return _multiply(_constant_power(content, exponent), {frozenset({(("+", scaled), exponent)}): _ONE})


def _square_content(base: Polynomial) -> Fraction:
    numerator = math.gcd(*(coefficient.numerator for coefficient in base.values()))
    denominator = math.lcm(*(coefficient.denominator for coefficient in base.values()))
    return Fraction(numerator, denominator)


def _constant_power(value: Fraction, exponent: Fraction) -> Polynomial:
    """A rational to a rational power: radicals of primes, with -1 to the half written as i."""
    if exponent.denominator == 1:
        return _constant(_rational_power(value, exponent.numerator))
    if value < 0:
        if exponent.denominator != 2:
            return _atom(("^", value, exponent))
        unit = _power(_atom(("s", "i")), Fraction(exponent.numerator))
        return _multiply(unit, _constant_power(-value, exponent))
    product = _constant(_ONE)
    for part, sign in ((value.numerator, 1), (value.denominator, -1)):
        for prime, count in _factor(part).items():
            product = _multiply(
                product, _monomial(frozenset({(("n", Fraction(prime)), sign * count * exponent)}), _UNIT, _ONE)
            )
    return product


def _rational_power(value: Fraction, exponent: int) -> Fraction:
    bits = max(value.numerator.bit_length(), value.denominator.bit_length()) - (
        abs(value.numerator) == 1 == value.denominator
    )
    if abs(exponent) * bits > MAX_BITS:
        raise TooLarge(f"a power of {abs(exponent) * bits} bits")
    if not value and exponent < 0:
        raise NoNormalForm("division by zero")
    return value**exponent


@lru_cache(maxsize=1024)
def _factor(number: int) -> dict[int, int]:
    """Small prime factors; a large cofactor stays as one factor, whether prime or not."""
    factors: dict[int, int] = {}
    divisor = 2
    while divisor * divisor <= number and divisor < 1000:
        while number % divisor == 0:
            number //= divisor
            factors[divisor] = factors.get(divisor, 0) + 1
        divisor += 1 if divisor == 2 else 2
    if number > 1:
        root = math.isqrt(number)
        square = root * root == number
        factors[root if square else number] = factors.get(root if square else number, 0) + (2 if square else 1)
    return factors


def _function(name: str, arguments: tuple[Tree, ...]) -> Polynomial:
    values = [rational(argument) for argument in arguments]
    known = [value for value in values if value is not None]
    if len(known) == len(values):
        exact = _evaluated(name, known)
        if exact is not None:
            return _constant(exact)
    if name == "root":
        index = values[1]
        if index is not None and index.denominator == 1 and index > 0:
            radicand = values[0]
            if radicand is not None and radicand < 0 and index % 2:  # the real cube root of -8 is -2
                return _multiply(_constant(Fraction(-1)), _constant_power(-radicand, 1 / index))
            return _power(_polynomial(arguments[0]), 1 / index)
        raise NoNormalForm("a root of no natural degree")
    return _atom(("f", name, tuple(_frozen(argument) for argument in arguments)))


def _evaluated(name: str, values: list[Fraction]) -> Fraction | None:
    if name in ("abs",):
        return abs(values[0])
    if name in ("floor", "ceil"):
        return Fraction(math.floor(values[0]) if name == "floor" else math.ceil(values[0]))
    if name in ("max", "min"):
        return max(values) if name == "max" else min(values)
    if all(value.denominator == 1 for value in values):
        whole = [value.numerator for value in values]
        if name in ("gcd", "lcm"):
            return Fraction((math.gcd if name == "gcd" else math.lcm)(*whole))
        if name == "factorial" and whole[0] >= 0:
            if whole[0] > MAX_FACTORIAL:
                raise TooLarge(f"the factorial of {_short(values[0])}")
            return Fraction(math.factorial(whole[0]))
        if name == "binom" and whole[1] >= 0:
            if max(map(abs, whole)) > MAX_FACTORIAL:
                raise TooLarge(f"a binomial of {_short(values[0])}")
            return Fraction(math.comb(*whole)) if whole[0] >= 0 else None
    return {("ln", _ONE): _ZERO}.get((name, values[0])) if len(values) == 1 else None


def _frozen(tree: Tree) -> frozenset[tuple[Monomial, Fraction]]:
    return frozenset(_polynomial(tree).items())


def _is_variable(base: Polynomial) -> bool:
    return len(base) == 1 and all(atom[0] == "s" for monomial in base for atom, _ in monomial) and 1 in base.values()


def _fits(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
        raise TooLarge("a number of more than 40,000 bits")
    return value


def _short(value: Fraction) -> str:
    return str(value) if value.numerator.bit_length() < 64 else "more than 64 bits"
