r"""The part that needs algebra. Runs only in worker processes: it may be slow, and mpmath and sympy load here.

`algebra_equal` settles what exact arithmetic could not, by values to 60 and then 220 digits. What the grammar cannot
read at all (sums, integrals, limits, matrix products) goes to math-verify, whose yes counts only when the two values
also agree to many digits: its own comparison rounds to six places.
"""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import Any

from reasoning_pipeline.verifier.bounds import Unreadable
from reasoning_pipeline.verifier.cleaning import tokens_of
from reasoning_pipeline.verifier.formulas import Profile, Truth, exact_equal
from reasoning_pipeline.verifier.grading import (
    COPIED,
    Decision,
    decide,
    integer,
    is_copy,
    readings,
    too_many_terms,
)
from reasoning_pipeline.verifier.numeric import NoValue, evaluate, loses_domain, sample_points, variables
from reasoning_pipeline.verifier.trees import Tree

_DIGITS = (60, 220)
_AGREED_POINTS = 3
_MOST_DIGITS = 4_000


class _MpMath:
    """The calculator of `numeric.evaluate` with many digits."""

    def __init__(self) -> None:
        from mpmath import mp

        self.mp = mp
        self.pi, self.e = mp.pi, mp.e
        self.functions: dict[str, Any] = {
            "arcsin": mp.asin, "arccos": mp.acos, "arctan": mp.atan, "abs": lambda x: mp.mpc(abs(x)), "gamma": mp.gamma,
            "floor": lambda x: mp.floor(self._real(x) + mp.mpf(10) ** -40),
            "ceil": lambda x: mp.ceil(self._real(x) - mp.mpf(10) ** -40),
            "real": self._real, "power": mp.power,
        } | {name: getattr(mp, name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "ln",
        "exp")}  # fmt: skip

    def _real(self, value: Any) -> Any:
        if abs(value.imag) > self.mp.mpf(10) ** (-self.mp.dps // 2):
            raise NoValue("not real")
        return value.real

    def number(self, value: Fraction) -> Any:
        return self.mp.mpc(value.numerator) / value.denominator

    def seen(self, value: Any) -> Any:
        if not self.mp.isfinite(value):
            raise NoValue("not finite")
        return value

    def function(self, name: str) -> Any:
        return self.functions[name]


def algebra_equal(gold: Tree, answer: Tree) -> Truth:
    """Equality of two formulas: exactly where possible, else to 200 digits at every point where both are real."""
    truth = exact_equal(gold, answer)
    if truth is not None:
        return truth
    from mpmath import mp

    calculator = _MpMath()
    for digits in _DIGITS:
        with mp.workdps(digits):
            truth = _agree(gold, answer, calculator, mp.mpf(10) ** (15 - digits))
        if truth is not True:
            return truth
    return True


def _agree(gold: Tree, answer: Tree, calculator: _MpMath, tolerance: Any) -> Truth:
    mp = calculator.mp
    names = sorted(variables(gold) | variables(answer))
    complex_agreed = real_agreed = 0
    for values in sample_points(names, lambda x: mp.mpc(Fraction(x).numerator) / Fraction(x).denominator):
        try:
            x, y = evaluate(gold, values, calculator), evaluate(answer, values, calculator)
        except Unreadable:
            continue
        same = _same(gold, answer, values, calculator, tolerance, (x, y))
        if same is None:
            continue
        # Off the real line different branches of a root or logarithm are no disagreement.
        real = all(abs(z.imag) <= tolerance * max(1, abs(z)) for z in (x, y))
        if not same and (real or not names or loses_domain(gold, x, y)):
            return False
        real_agreed += same and real
        complex_agreed += same
    wanted = min(_AGREED_POINTS, len(sample_points(names)))
    if real_agreed >= min(wanted, 2) or complex_agreed >= wanted:
        return True
    return None


def _same(
    gold: Tree, answer: Tree, values: dict[str, Any], calculator: Any, tolerance: Any, found: tuple[Any, Any]
) -> bool | None:
    """Whether two values agree; None where that cannot be told.

    Beside 10^300 an x is lost, and of 10^-300 and zero neither is larger than the rounding. Such values are computed
    again with as many more digits as they are large or small.
    """
    mp = calculator.mp
    x, y = found
    size = max(abs(x), abs(y))
    if tolerance**0.25 <= size <= tolerance**-0.25:
        return bool(abs(x - y) <= tolerance * size)
    more = int(abs(mp.log10(size))) if size else 0
    if more > _MOST_DIGITS:
        return None
    with mp.workdps(mp.dps + more + 20):
        try:
            x, y = evaluate(gold, values, calculator), evaluate(answer, values, calculator)
        except Unreadable:
            return None
        if size > 1:
            return bool(abs(x - y) <= tolerance)
        exact = max(abs(x), abs(y))  # what only rounding keeps from zero shrinks when it is rounded later
        return bool(exact <= (size or tolerance) * mp.mpf(10) ** -15 or abs(x - y) <= tolerance * exact)


def decide_with_algebra(
    gold: str, answer: str, profile: Profile, time_limit_s: float, question: str | None = None
) -> Decision:
    """The worker's whole decision about one pair."""
    decision = decide(gold, answer, profile, algebra_equal, question)
    if decision.status is not None:
        return Decision(decision.status, "algebra" if decision.rule == "exact" else decision.rule)
    legible = not any(isinstance(readings(text), Unreadable) for text in (gold, answer))
    if legible and (profile == "strict" or "'" in answer or "prime" in answer):
        return Decision("wrong", "undecided")  # math-verify drops what it does not know, primes among it
    if legible and _only_case_differs(gold, answer):
        return Decision("wrong", "case of letters")  # which math-verify does not see
    if too_many_terms(answer) or (integer(gold) is None and too_many_terms(gold)):
        return Decision("too_long", "numbers too large for algebra")
    decision = _ask_math_verify(gold, answer, max(1, int(time_limit_s)))
    if decision.status == "correct" and profile == "strict" and is_copy(gold, answer, question):
        return COPIED
    return decision


def _only_case_differs(gold: str, answer: str) -> bool:
    first, second = ({t.value for t in tokens_of(text) if t.kind == "letter"} for text in (gold, answer))
    return first != second and {name.lower() for name in first} == {name.lower() for name in second}


def _ask_math_verify(gold: str, answer: str, seconds: int) -> Decision:
    parsed = [parse_latex(text, seconds) for text in (gold, answer)]
    if parsed[0] is None:
        # A reference that this grammar reads is no fault of the data: math-verify was asked because of the answer.
        legible = not isinstance(readings(gold), Unreadable)
        return Decision("wrong" if legible else "reference_unparsed", "math-verify reads no formula in the reference")
    if parsed[1] is None:
        return Decision("unparsed", "math-verify reads no formula in the box")
    from math_verify import verify

    # The reference goes first: math-verify is not symmetric.
    said = verify(parsed[0], parsed[1], timeout_seconds=seconds, allow_set_relation_comp=True)
    return Decision("correct" if said and not _values_differ(*parsed) else "wrong", "math-verify")


def parse_latex(text: str, seconds: int) -> Any:
    """The sympy object that math-verify reads in a formula, or None. LaTeX only, and never a bare string."""
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    from math_verify import LatexExtractionConfig, parse

    from reasoning_pipeline.verifier.spelling import ascii_latex

    bare = ascii_latex(text).strip().strip("$").strip(".")
    found = parse(f"${bare}$", [LatexExtractionConfig()], parsing_timeout=seconds, fallback_mode="no_fallback")
    return next((item for item in found if not isinstance(item, str)), None)


def _values_differ(gold: Any, answer: Any) -> bool:
    """True when both are numbers and not the same to 40 digits."""
    try:
        if gold.free_symbols or answer.free_symbols:
            return False
        x, y = (complex_pair(side.doit().evalf(50)) for side in (gold, answer))
    except (AttributeError, TypeError, ValueError):
        return False
    from mpmath import mp

    with mp.workdps(50):
        return bool(abs(x - y) > mp.mpf(10) ** -40 * max(abs(x), abs(y)))


def complex_pair(value: Any) -> Any:
    """A sympy number as an mpmath one; raises TypeError for anything else."""
    from mpmath import mp

    real, imaginary = value.as_real_imag()
    if not (real.is_number and imaginary.is_number):
        raise TypeError("not a number")
    return mp.mpc(real._to_mpmath(170), imaginary._to_mpmath(170))
