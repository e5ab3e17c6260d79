"""Equations: a name with its value, two equations of one curve, an equation solved for a variable."""

from __future__ import annotations

from fractions import Fraction

from reasoning_pipeline.verifier.answers import Answer
from reasoning_pipeline.verifier.exact import NoNormalForm, normal_form
from reasoning_pipeline.verifier.formulas import Formulas, Truth, all_of, any_of
from reasoning_pipeline.verifier.numeric import variables
from reasoning_pipeline.verifier.shapes import (
    at_one_point,
    difference_of_sides,
    is_name,
    renamed_argument,
)
from reasoning_pipeline.verifier.trees import MINUS_ONE, Tree, substitute, times


class Equations(Formulas):
    """The rules for equations; `same` compares any two answers."""

    def same(self, gold: Answer, answer: Answer) -> Truth:
        raise NotImplementedError

    def _in_order(self, golds: tuple[Answer, ...], answers: tuple[Answer, ...]) -> Truth:
        if len(golds) != len(answers):
            return False
        return all_of(self.same(g, a) for g, a in zip(golds, answers, strict=True))

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
