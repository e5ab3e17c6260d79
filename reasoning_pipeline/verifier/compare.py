r"""Whether an answer is the reference's answer: the rules of the two profiles, in one place.

Every comparison returns True, False or None. None means that exact arithmetic cannot tell; a worker then runs the same
rules again with algebra in place of `exact_equal`. The rules themselves are explained in docs/verifier.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from reasoning_pipeline.verifier.answers import Answer
from reasoning_pipeline.verifier.exact import NoNormalForm, normal_form, rational
from reasoning_pipeline.verifier.expressions import MINUS_ONE, Tree, times
from reasoning_pipeline.verifier.numeric import clearly_different, real_value, variables
from reasoning_pipeline.verifier.realsets import Segment, segments, substitute, variable_of
from reasoning_pipeline.verifier.shapes import (
    MAX_ITEMS,
    at_one_point,
    contains,
    difference_of_sides,
    exact_side,
    expand_plus_minus,
    in_alphabetical_order,
    is_interval,
    is_literal,
    is_name,
    letters_of,
    meaningless,
    prints_as,
    quotient,
    renamed_argument,
    renamed_parameter,
    rounds_to,
    same_numeral,
    whole_number,
)
from reasoning_pipeline.verifier.units import different_units, number_in_words

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
class Comparison:
    """One profile's rules over one way of telling formulas apart."""

    profile: Profile
    equal: Callable[[Tree, Tree], Truth] = exact_equal

    @property
    def lenient(self) -> bool:
        return self.profile == "lenient"

    def readings(self, golds: tuple[Answer, ...], answers: tuple[Answer, ...]) -> Truth:
        """Any reading of the answer may match any reading of the reference."""
        return any_of(self.same(gold, answer) for gold in golds for answer in answers)

    def same(self, gold: Answer, answer: Answer) -> Truth:
        if gold == answer:
            return None if meaningless(gold) else True
        gold, answer = expand_plus_minus(exact_side(gold)), expand_plus_minus(answer)
        kinds = (gold[0], answer[0])
        if answer[0] == "approx":
            return self._approximation(gold, answer)
        if "unit" in kinds:
            return self._units(gold, answer)
        if "label" in kinds:
            return self._labels(gold, answer)
        if "eq" in kinds:
            return self._equations(gold, answer)
        if kinds == ("text", "choice"):
            return self.lenient and gold[1] == answer[1]
        if kinds == ("expr", "choice"):
            return self.lenient and gold[1][0] == "s" and gold[1][1].lower() == answer[1]
        if "text" in kinds:
            return self._words(gold, answer)
        if "ratio" in kinds:
            return self._ratios(gold, answer)
        if "list" in kinds:
            return self._lists(gold, answer)
        if set(kinds) & {"union", "meet", "minus", "rel"} or (kinds == ("seq", "seq") and is_interval(gold, answer)):
            return self._sets(gold, answer)
        if kinds == ("seq", "seq"):
            return gold[1:3] == answer[1:3] and self._in_order(gold[3], answer[3])
        if kinds == ("expr", "expr"):
            return self._formulas(gold[1], answer[1])
        if self.lenient and set(kinds) == {"expr", "seq"}:
            return self._vectors(*((gold, answer) if gold[0] == "expr" else (answer, gold)), swapped=gold[0] == "seq")
        return False

    # -- structures ------------------------------------------------------------------------------------------------

    def _in_order(self, golds: tuple[Answer, ...], answers: tuple[Answer, ...]) -> Truth:
        if len(golds) != len(answers):
            return False
        return all_of(self.same(g, a) for g, a in zip(golds, answers, strict=True))

    def _lists(self, gold: Answer, answer: Answer) -> Truth:
        golds = gold[1] if gold[0] == "list" else (gold,)
        answers = answer[1] if answer[0] == "list" else (answer,)
        if gold[0] == "list" and answer[0] in ("union", "rel", "meet", "minus"):
            return self._sets(gold, answer)
        if gold[0] in ("union", "rel", "meet", "minus") and answer[0] == "list":
            return self._sets(gold, answer)
        if not golds or not answers:
            return len(golds) == len(answers)
        if max(len(golds), len(answers)) > MAX_ITEMS:
            return False
        if gold[0] != "list" and not self.lenient:
            return False  # a list of one is still a list; a reward wants the value itself
        for names, other in ((golds, answer), (answers, gold)):
            if other[0] == "seq" and other[1:3] == ("(", ")") and (values := in_alphabetical_order(names)) is not None:
                pair = (other[3], values) if other is gold else (values, other[3])
                return self._in_order(*pair)
        cover = [any_of(self.same(g, a) for a in answers) for g in golds]
        return all_of(itertools.chain(cover, (any_of(self.same(g, a) for g in golds) for a in answers)))

    def _sets(self, gold: Answer, answer: Answer) -> Truth:
        if gold[0] == answer[0] == "rel" and variable_of(gold) != variable_of(answer):
            return self._chains(gold, answer)
        first, second = segments(gold), segments(answer)
        if first is not None and second is not None:
            if len(first) != len(second):
                return False
            return all_of(self._segment(g, a) for g, a in zip(first, second, strict=True))
        if gold[0] == answer[0] == "rel" and self._chains(gold, answer):
            return True
        if "rel" in (gold[0], answer[0]) and self.lenient:
            return None  # x^2 < 1, say: algebra can solve it
        if gold[0] == answer[0] and gold[0] in ("union", "meet"):
            return self._lists(("list", gold[1]), ("list", answer[1]))
        if gold[0] == answer[0] == "minus":
            return self._in_order(gold[1:], answer[1:])
        if gold[0] == answer[0] == "seq":
            return gold[1:3] == answer[1:3] and self._in_order(gold[3], answer[3])
        return False

    def _segment(self, gold: Segment, answer: Segment) -> Truth:
        if (gold.low_in, gold.high_in) != (answer.low_in, answer.high_in):
            return False
        return all_of((self._ends(gold.low_tree, answer.low_tree), self._ends(gold.high_tree, answer.high_tree)))

    def _ends(self, gold: Tree, answer: Tree) -> Truth:
        return self._formulas(gold, answer)

    def _chains(self, gold: Answer, answer: Answer) -> Truth:
        r"""`f(2) < f(1) < f(4)`: side by side, read forwards or backwards."""
        flip = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
        backwards = (answer[1][::-1], tuple(flip.get(operator, operator) for operator in answer[2][::-1]))
        readings = [side for side in (answer[1:], backwards) if side[1] == gold[2]]
        return any_of(self._in_order(gold[1], sides) for sides, _ in readings)

    def _vectors(self, matrix: Answer, sequence: Answer, *, swapped: bool) -> Truth:
        if matrix[1][0] != "M" or matrix[1][1] != "matrix":
            return False
        rows = tuple(tuple(("expr", cell) for cell in row) for row in matrix[1][2])
        items = sequence[3]
        pairs: list[tuple[tuple[Answer, ...], tuple[Answer, ...]]] = []
        if all(len(row) == 1 for row in rows) and all(item[0] == "expr" for item in items):
            pairs = [(tuple(row[0] for row in rows), items)]
        elif len(rows) == len(items) and all(item[0] == "seq" for item in items):
            pairs = [(row, item[3]) for row, item in zip(rows, items, strict=True)]
        return bool(pairs) and all_of(self._in_order(*(pair[::-1] if swapped else pair)) for pair in pairs)

    # -- words, units, names ---------------------------------------------------------------------------------------

    def _words(self, gold: Answer, answer: Answer) -> Truth:
        values = [number_in_words(side[1]) if side[0] == "text" else whole_number(side) for side in (gold, answer)]
        if values[0] is not None and values[0] == values[1]:
            return self.lenient or gold[0] == "text"
        return letters_of(gold) is not None and letters_of(gold) == letters_of(answer)

    def _units(self, gold: Answer, answer: Answer) -> Truth:
        if gold[0] == answer[0] == "unit":
            return False if different_units(gold[2], answer[2]) else self.same(gold[1], answer[1])
        if gold[0] == "unit":
            return self.same(gold[1], answer)
        if answer[0] == "unit" and not self.lenient:
            return False
        return self.same(gold, answer[1])

    def _labels(self, gold: Answer, answer: Answer) -> Truth:
        if gold[0] == answer[0] == "label":
            return gold[1] == answer[1] and self.same(gold[2], answer[2])
        return self.lenient and self.same(
            gold[2] if gold[0] == "label" else gold, answer[2] if answer[0] == "label" else answer
        )

    def _ratios(self, gold: Answer, answer: Answer) -> Truth:
        if gold[0] == answer[0]:
            return self._in_order(gold[1], answer[1])
        if not self.lenient or {gold[0], answer[0]} != {"ratio", "expr"}:
            return False
        values = [side if side[0] == "expr" else quotient(side) for side in (gold, answer)]
        return values[0] is not None and values[1] is not None and self.same(values[0], values[1])

    def _approximation(self, gold: Answer, answer: Answer) -> Truth:
        r"""`\frac13 \approx 0.33` answers with its exact side, unless the other side is far off. Not for rewards."""
        if not self.lenient:
            return False
        sides = [real_value(side[1]) if side[0] == "expr" else None for side in answer[1:]]
        if sides[0] is not None and sides[1] is not None and abs(sides[0] - sides[1]) > 0.01 * abs(sides[0]):
            return False
        return self.same(gold, answer[1])

    # -- equations -------------------------------------------------------------------------------------------------

    def _equations(self, gold: Answer, answer: Answer) -> Truth:
        if gold[0] == answer[0] == "eq":
            return any_of((self._named(gold, answer), self._same_curve(gold, answer)))
        if answer[0] == "eq":
            value = self._value_of(answer, strict=not self.lenient)
            return False if value is None else self._as_list(gold, answer, value)
        value = self._value_of(gold, strict=False)
        if value is not None:
            truth = self._as_list(answer, gold, value, swapped=True)
            if truth is not False:
                return truth
        return self._solves(gold, answer) if self.lenient else False

    def _as_list(self, other: Answer, equation: Answer, value: Answer, *, swapped: bool = False) -> Truth:
        """`(x, y) = (1, 2)` may also answer the list `1, 2`: the names stand for the order."""
        if other[0] == "list" and equation[1][0][0] == "seq" and value[0] == "seq":
            return self._in_order(other[1], value[3])
        return self.same(value, other) if swapped else self.same(other, value)

    def _value_of(self, equation: Answer, *, strict: bool) -> Answer | None:
        """What `x = 5` or `a = b = 5` says; None when a side is neither a name nor equal to that value."""
        *names, value = equation[1]
        if is_name(value) and not is_name(names[0]):
            names, value = [value, *names[1:]], names[0]
        for name in names:
            if is_name(name):
                continue
            if strict or self.same(value, name) is not True:
                return None
        return value

    def _named(self, gold: Answer, answer: Answer) -> Truth:
        """`f(x) = 2x` and `f(t) = 2t`: the same name, the same value."""
        values = self._value_of(gold, strict=False), self._value_of(answer, strict=not self.lenient)
        if values[0] is None or values[1] is None:
            return False
        first, second, value = gold[1][0], answer[1][0], values[1]
        if first == second or (first[0] == second[0] == "seq" and self._in_order(first[3], second[3])):
            return self.same(values[0], value)
        renamed = renamed_argument(first, second)
        if renamed and value[0] == "expr":
            return self.same(values[0], ("expr", substitute(value[1], renamed[1], ("s", renamed[0]))))
        return False

    def _same_curve(self, gold: Answer, answer: Answer) -> Truth:
        """Two equations are one when the differences of their sides are proportional."""
        first, second = difference_of_sides(gold), difference_of_sides(answer)
        if first is None or second is None or not variables(first) or variables(first) != variables(second):
            return False
        quotient = times((first, ("^", second, MINUS_ONE)))
        try:
            a, b = dict(normal_form(first)), dict(normal_form(second))
        except NoNormalForm:
            return None
        if not a or not b:
            return False
        if set(a) == set(b) and len({a[monomial] / b[monomial] for monomial in a}) == 1:
            return True
        return self.equal(quotient, at_one_point(quotient, sorted(variables(quotient))))

    def _solves(self, gold: Answer, answer: Answer) -> Truth:
        r"""The reference `xy = 6` and the answer `\frac{6}{x}`: an equation solved for one variable."""
        curve = difference_of_sides(gold)
        if curve is None or answer[0] != "expr" or not variables(answer[1]):
            return False
        hidden = variables(curve) - variables(answer[1])
        zero: Tree = ("n", Fraction(0))
        return (
            any_of(self.equal(substitute(curve, name, answer[1]), zero) for name in sorted(hidden))
            if len(hidden) == 1
            else False
        )

    # -- formulas --------------------------------------------------------------------------------------------------

    def _formulas(self, gold: Tree, answer: Tree) -> Truth:
        if gold == answer:
            return None if meaningless(("expr", gold)) else True
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
        if gold[0] == "%":  # MATH drops the sign as often as it writes it, so 50 and 0.5 are both 50 percent
            fraction = times((bare_gold, ("n", Fraction(1, 100))))
            shown = ("d", bare_gold[1] / 100, bare_gold[2] + 2) if bare_gold[0] == "d" else bare_gold
            rounded = self.lenient and rounds_to(shown, answer)
            return True if rounded else any_of((self._formulas(bare_gold, answer), self.equal(fraction, answer)))
        if gold[0] == "n" and not self.lenient:
            return False
        return any_of((self.equal(gold, answer), self.lenient and self._formulas(gold, bare_answer)))

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
            return None if {gold[0], answer[0]} & {"+", "*", "^"} else False
        shapes = [(len(side[2]), len(side[2][0])) for side in (gold, answer)]
        if shapes[0] != shapes[1]:
            return False
        cells = zip(itertools.chain(*gold[2]), itertools.chain(*answer[2]), strict=True)
        return all_of(self._formulas(g, a) for g, a in cells)
