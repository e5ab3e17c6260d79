r"""Whether an answer is the reference's answer: the rules of the two profiles, in one place.

Every comparison returns True, False or None. None means that exact arithmetic cannot tell; a worker then runs the same
rules again with algebra in place of `exact_equal`. The rules themselves are explained in docs/verifier.md.
"""

from __future__ import annotations

import itertools

from reasoning_pipeline.verifier.answers import Answer
from reasoning_pipeline.verifier.domains import restricts
from reasoning_pipeline.verifier.equations import Equations
from reasoning_pipeline.verifier.formulas import Truth, all_of, any_of
from reasoning_pipeline.verifier.numeric import real_value
from reasoning_pipeline.verifier.realsets import Segment, are_relations, is_solved, segments, variable_of
from reasoning_pipeline.verifier.shapes import (
    MAX_ITEMS,
    exact_side,
    expand_plus_minus,
    is_interval,
    letters_of,
    meaningless,
    named_values,
    quotient,
    whole_number,
)
from reasoning_pipeline.verifier.trees import Tree
from reasoning_pipeline.verifier.units import different_units, names_no_more, number_in_words


class Comparison(Equations):
    """One profile's rules over one way of telling formulas apart."""

    def readings(self, golds: tuple[Answer, ...], answers: tuple[Answer, ...]) -> Truth:
        """Any reading of the answer may match any reading of the reference."""
        pairs = [(gold, answer) for gold in golds for answer in answers]
        if len(golds) > 1:  # 98,634 is a number first: 98, 634, 98 names it beside another one
            pairs = [(gold, answer) for gold, answer in pairs if not _longer_list(answer, gold)]
        return any_of(self.same(gold, answer) for gold, answer in pairs)

    def same(self, gold: Answer, answer: Answer) -> Truth:
        if gold == answer:
            return None if meaningless(gold) else True
        if gold[0] == "where" or answer[0] == "where":
            return self._domains(gold, answer)
        gold, answer = expand_plus_minus(exact_side(gold)), expand_plus_minus(answer)
        kinds = (gold[0], answer[0])
        if answer[0] == "approx":
            return self._approximation(gold, answer)
        if "eq" in kinds and "label" not in kinds:
            return self._equations(gold, answer)
        if "unit" in kinds:
            return self._units(gold, answer)
        if "label" in kinds:
            return self._labels(gold, answer)
        if "choice" in kinds:
            letters = [side[1] if side[0] == "choice" else letters_of(side) for side in (gold, answer)]
            return self.lenient and letters[0] == letters[1]
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

    def _lists(self, gold: Answer, answer: Answer) -> Truth:
        golds = gold[1] if gold[0] == "list" else (gold,)
        answers = answer[1] if answer[0] == "list" else (answer,)
        if gold[0] == "list" and answer[0] in ("union", "rel", "meet", "minus"):
            return self._sets(gold, answer)
        if gold[0] in ("union", "rel", "meet", "minus") and answer[0] == "list":
            return self._sets(gold, answer)
        if (gold[0] == "seq" and are_relations(answer)) or (answer[0] == "seq" and are_relations(gold)):
            return self._sets(gold, answer)
        if not golds or not answers:
            return len(golds) == len(answers)
        if max(len(golds), len(answers)) > MAX_ITEMS:
            return False
        for names, other in ((golds, answer), (answers, gold)):
            if other[0] == "seq" and other[1:3] == ("(", ")"):
                values = named_values(names, alphabetical=True)
                if values is not None:
                    return self._in_order(*((other[3], values) if other is gold else (values, other[3])))
        if gold[0] != "list" and not self.lenient:
            return False  # a list of one is still a list; a reward wants the value itself
        values = named_values(golds)
        if values is not None and len(values) == len(answers) and not any(item[0] == "eq" for item in answers):
            return self._in_order(values, answers)  # a = 2, b = 3 is not 3, 2
        cover = [any_of(self.same(g, a) for a in answers) for g in golds]
        return all_of(itertools.chain(cover, (any_of(self.same(g, a) for g in golds) for a in answers)))

    def _sets(self, gold: Answer, answer: Answer) -> Truth:
        if gold[0] == answer[0] == "rel" and variable_of(gold) != variable_of(answer):
            return self._chains(gold, answer)
        if not self.lenient and answer[0] == "rel" and not is_solved(answer) and (gold[0] != "rel" or is_solved(gold)):
            return False  # solving it was the question
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
        letters = letters_of(gold), letters_of(answer)
        if letters[0] is None or letters[1] is None:
            return False
        if gold[0] == "expr" and gold[1][0] == "*":  # a product of letters, whose order says nothing: cba for abc
            return sorted(letters[0]) == sorted(letters[1])
        return letters[0] == letters[1]

    def _units(self, gold: Answer, answer: Answer) -> Truth:
        if gold[0] == answer[0] == "unit":
            if different_units(gold[2], answer[2]) or not (self.lenient or names_no_more(gold[2], answer[2])):
                return False
            return self.same(gold[1], answer[1])
        other = answer if gold[0] == "unit" else gold
        if other[0] == "expr" and other[1][0] in ("%", "deg"):
            temperature = {gold[0], answer[0]} == {"unit", "expr"} and other[1][0] == "deg"
            named = (gold if gold[0] == "unit" else answer)[2].split()
            if not (temperature and named[-1:] in (["celsius"], ["fahrenheit"]) and self.lenient):
                return False  # 60 percent or degrees of what is measured in something else
            other = ("expr", other[1][1])
        if gold[0] == "unit":
            return self.same(gold[1], other)
        return self.lenient and self.same(other, answer[1])

    def _domains(self, gold: Answer, answer: Answer) -> Truth:
        r"""`n\pi, n \in \mathbb{Z}`: what both say of a letter must be the same; what one says must be usual."""
        if gold[0] == answer[0] and gold[2][1] != answer[2][1]:
            return False
        if gold[0] != "where" and restricts(answer[2]):
            return False
        return self.same(gold[1] if gold[0] == "where" else gold, answer[1] if answer[0] == "where" else answer)

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


def _longer_list(first: Answer, second: Answer) -> bool:
    return first[0] == second[0] == "list" and len(first[1]) > len(second[1])
