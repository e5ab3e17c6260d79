"""Equations: a name with its value, two equations of one curve, an equation solved for a variable."""

from __future__ import annotations

from fractions import Fraction

from reasoning_pipeline.verifier.answers import Answer
from reasoning_pipeline.verifier.curves import at_one_point, cleared, difference_of_sides, is_linear
from reasoning_pipeline.verifier.exact import NoNormalForm, normal_form
from reasoning_pipeline.verifier.expressions import ALGEBRA
from reasoning_pipeline.verifier.formulas import Formulas, Truth, all_of, any_of
from reasoning_pipeline.verifier.numeric import variables
from reasoning_pipeline.verifier.questions import names_formula, names_quantity
from reasoning_pipeline.verifier.shapes import (
    is_name,
    is_solution,
    loose_degrees,
    names_out_of_order,
    renamed_argument,
    value_of_function,
)
from reasoning_pipeline.verifier.trees import MINUS_ONE, Tree, substitute, times, unknown_functions


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
            named = self._named(gold, answer)
            if not self.lenient and is_solution(gold):
                return named  # `x = 5` is asked for: `2x + 3 = 13` is the question again
            return any_of((named, self._same_curve(gold, answer)))
        if answer[0] == "eq":
            value, holds = self._value_of(answer)
            if gold[0] == "seq" and names_out_of_order(answer[1][0]):
                return False  # (y, x) = (1, 2) is the pair (2, 1)
            return False if value is None else all_of((holds, self._as_list(gold, answer, value)))
        value, holds = self._value_of(gold, reference=True)
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

    def _value_of(self, equation: Answer, *, reference: bool = False) -> tuple[Answer | None, Truth]:
        """What `x = 5` or `a = b = 5` says, and whether all its sides hold; None when a side is no name for the value.

        In an answer, a formula in letters may stand for the quantity that was asked for: `m + n = 113`.
        """
        *names, value = equation[1]
        first = names[0]
        if (is_name(value) and not is_name(first)) or (self._asked_for(value) and not self._asked_for(first)):
            names, value = [value, *names[1:]], first
        if value[0] == "quantity":
            return None, False
        lenient = self.lenient or reference
        holds: Truth = True
        for name in names:
            if is_name(name) or (not reference and self._asked_for(name) and self._gives_a_name(name, value)):
                continue
            if not (lenient or self._asked_for(name)) or name[0] == "quantity":
                return None, False
            both = value[0] == name[0] == "expr"
            holds = all_of((holds, self.equal(value[1], name[1]) if both else self.same(value, name)))
            if holds is False:
                return None, False
        return value, holds

    def _gives_a_name(self, side: Answer, value: Answer) -> bool:
        """Whether a formula is a name for a value: it has letters that the value has not, so that neither is false."""
        if side[0] == "quantity":
            return True
        mine, others = (_letters(part[1]) if part[0] == "expr" else set() for part in (side, value))
        return bool(mine - others)

    def _asked_for(self, side: Answer) -> bool:
        """Whether a side is a quantity that has a value, and not the value: a name, or a formula in letters.

        Where the question is known, a reward wants the formula to stand in it.
        """
        if is_name(side):
            return True
        if side[0] == "quantity":
            if self.lenient:
                return True
            if self.question is None:  # a sum or an integral is the calculation and no name for its value
                return ALGEBRA.isdisjoint(side[1].split())
            return names_quantity(self.question, side[1])
        if side[0] != "expr":
            return False
        if self.lenient or self.question is None:
            return bool(_letters(side[1]))
        return names_formula(self.question, side[1])

    def _named(self, gold: Answer, answer: Answer) -> Truth:
        """`f(x) = 2x` and `f(t) = 2t`: the same name, the same value."""
        values = self._value_of(gold, reference=True)[0], self._value_of(answer)[0]
        if values[0] is None or values[1] is None:
            return False
        first, second = (
            side[1][-1] if is_name(side[1][-1]) and not is_name(side[1][0]) else side[1][0] for side in (gold, answer)
        )
        value = values[1]
        if first == second or (first[0] == second[0] == "seq" and self._in_order(first[3], second[3])):
            return self.same(values[0], value)
        if value_of_function(first, second) or value_of_function(second, first):
            return self.same(values[0], value)
        renamed = renamed_argument(first, second)
        if renamed and value[0] == "expr":
            return self.same(values[0], ("expr", substitute(value[1], renamed[1], ("s", renamed[0]))))
        return False

    def _same_curve(self, gold: Answer, answer: Answer) -> Truth:
        """Two equations are one when the differences of their sides are proportional."""
        first, second = cleared(difference_of_sides(gold)), cleared(difference_of_sides(answer))
        if first is None or second is None or not variables(first) or variables(first) != variables(second):
            return False
        if unknown_functions(first) != unknown_functions(second):
            return False
        if loose_degrees(first, inside=False) != loose_degrees(second, inside=False):
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
        hidden = {name for name in variables(curve) - variables(answer[1]) if is_linear(curve, name)}
        zero: Tree = ("n", Fraction(0))
        return (
            any_of(self.equal(substitute(curve, name, answer[1]), zero) for name in sorted(hidden))
            if len(hidden) == 1
            else False
        )


def _letters(tree: Tree) -> set[str]:
    """The variables and the unknown functions of a formula: what may stand for something else."""
    return variables(tree) | unknown_functions(tree)
