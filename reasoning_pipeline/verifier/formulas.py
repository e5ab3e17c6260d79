r"""Whether two formulas are one: percent, degrees, other bases, matrices, and what a profile takes for a number."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from reasoning_pipeline.verifier.exact import NoNormalForm, normal_form, rational
from reasoning_pipeline.verifier.literals import is_literal, prints_as, rounds_to, same_numeral
from reasoning_pipeline.verifier.numeric import clearly_different, real_value
from reasoning_pipeline.verifier.shapes import calls, loose_degrees, meaningless, renamed_parameter, scaled_matrix
from reasoning_pipeline.verifier.trees import Tree, contains, times

Profile = Literal["strict", "lenient"]
Truth = bool | None


def all_of(truths: Iterable[Truth]) -> Truth:
    """Kleene's and: False wins, then None."""
    unknown = False
    for truth in truths:
        if truth is False:
            return False
        unknown |= truth is None
    return None if unknown else True


def any_of(truths: Iterable[Truth]) -> Truth:
    """Kleene's or: True wins, then None."""
    unknown = False
    for truth in truths:
        if truth:
            return True
        unknown |= truth is None
    return None if unknown else False


def exact_equal(gold: Tree, answer: Tree) -> Truth:
    """Equality of two formulas by normal form, inequality by floats; what neither decides is None."""
    if gold == answer:
        return True
    try:
        if normal_form(gold) == normal_form(answer):
            return True
        if rational(gold) is not None and rational(answer) is not None:
            return False
    except NoNormalForm:
        if real_value(gold) in (float("inf"), float("-inf")) or real_value(answer) in (float("inf"), float("-inf")):
            return real_value(gold) == real_value(answer) and real_value(gold) is not None
    return False if clearly_different(gold, answer) else None


@dataclass(frozen=True)
class Formulas:
    """One profile's rules for formulas over one way of telling them apart."""

    profile: Profile
    equal: Callable[[Tree, Tree], Truth] = exact_equal
    question: str | None = None
    """The text of the problem, where it is known: a quantity that it names may stand left of its value."""

    @property
    def lenient(self) -> bool:
        return self.profile == "lenient"

    def _formulas(self, gold: Tree, answer: Tree) -> Truth:
        if gold == answer:
            return None if meaningless(("expr", gold)) else True
        if not self.lenient and calls(answer) - calls(gold):
            return False  # the larger of two numbers is not one of them until it is said which
        if loose_degrees(gold, inside=False) != loose_degrees(answer, inside=False):
            return False
        if gold[0] == "s" and not self.lenient and gold[1] not in ("infty", "i", "e", "pi"):
            return False  # a letter is asked for, and often that of a choice: `1A` is not it
        if gold[0] == "%" or answer[0] == "%":
            return self._percent(gold, answer)
        if gold[0] == "deg" or answer[0] == "deg":
            return self._degrees(gold, answer)
        if gold[0] == "b" or answer[0] == "b":
            return same_numeral(gold, answer)
        if gold[0] == "M" or answer[0] == "M":
            return self._matrices(gold, answer)
        if contains(gold, "b") or contains(answer, "b"):
            return False  # arithmetic in another base is not an answer in it
        if not self.lenient and is_literal(gold) and not is_literal(answer, whole=gold[0] == "n"):
            return False  # a number is asked for: an unevaluated `6 \times 7` may be the question copied
        truth = self.equal(gold, answer)
        if truth is not True and prints_as(gold, answer):
            return True
        if truth is not True and self.lenient and rounds_to(gold, answer):
            return True
        if truth is not True and self.lenient and (renamed := renamed_parameter(gold, answer)) is not None:
            return self.equal(gold, renamed)
        return truth

    def _percent(self, gold: Tree, answer: Tree) -> Truth:
        bare_gold, bare_answer = (side[1] if side[0] == "%" else side for side in (gold, answer))
        if gold[0] == answer[0]:
            return self._formulas(bare_gold, bare_answer)
        if "deg" in (gold[0], answer[0]) or contains(gold, "b") or contains(answer, "b"):
            return False
        if gold[0] == "%":  # MATH drops the sign as often as it writes it, so 50 and 0.5 are both 50 percent
            fraction = times((bare_gold, ("n", Fraction(1, 100))))
            shown = ("d", bare_gold[1] / 100, bare_gold[2] + 2) if bare_gold[0] == "d" else bare_gold
            rounded = self.lenient and rounds_to(shown, answer)
            return True if rounded else any_of((self._formulas(bare_gold, answer), self.equal(fraction, answer)))
        if gold[0] == "n" and not self.lenient:
            return False
        # 25 and 12.5 may be asked for in percent; 1/4 and 0.5 are numbers, and 0.5 % is another one
        asked = self.lenient and gold[0] in ("n", "d") and (gold[0] == "n" or abs(gold[1]) > 1)
        return any_of((self.equal(gold, answer), asked and self._formulas(gold, bare_answer)))

    def _degrees(self, gold: Tree, answer: Tree) -> Truth:
        bare_gold, bare_answer = (side[1] if side[0] == "deg" else side for side in (gold, answer))
        if gold[0] == answer[0]:
            return self._formulas(bare_gold, bare_answer)
        if answer[0] == "deg" and not self.lenient:
            return False
        plain = self._formulas(bare_gold, bare_answer)
        if plain is True or not self.lenient:
            return plain
        radians = times((("n", Fraction(1, 180)), ("s", "pi")))
        both = [
            times((bare, radians)) if side[0] == "deg" else side
            for side, bare in ((gold, bare_gold), (answer, bare_answer))
        ]
        return self.equal(both[0], both[1])

    def _matrices(self, gold: Tree, answer: Tree) -> Truth:
        if gold[0] != answer[0] or gold[1] != answer[1]:
            scaled = [scaled_matrix(side) for side in (gold, answer)]
            if scaled[0] is not None and scaled[1] is not None:
                return self._matrices(scaled[0], scaled[1])
            if not self.lenient:
                return False  # a sum or product of matrices may be the question; a matrix is asked for
            return None if {gold[0], answer[0]} & {"+", "*", "^"} else False
        shapes = [(len(side[2]), len(side[2][0])) for side in (gold, answer)]
        if shapes[0] != shapes[1]:
            return False
        cells = zip(itertools.chain(*gold[2]), itertools.chain(*answer[2]), strict=True)
        return all_of(self._formulas(g, a) for g, a in cells)
