"""Properties that hold for every answer, checked on generated ones."""

from __future__ import annotations

import re
import string
from fractions import Fraction
from math import isclose

from hypothesis import example, given, settings
from hypothesis import strategies as st

from reasoning_pipeline.verifier.extraction import extract_answer
from reasoning_pipeline.verifier.grading import decide

few = settings(max_examples=60, deadline=None)
"""Examples of each property in every run; the programs in `benchmarks/` search further."""

_integers = st.integers(-(10**12), 10**12)
_fractions = st.fractions(max_denominator=999).filter(lambda f: abs(f) < 10**6)


def shown(value: Fraction) -> str:
    sign = "-" if value < 0 else ""
    return f"{sign}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def correct(reference: str, answer: str, profile: str = "strict") -> bool:
    return decide(reference, answer, profile).status == "correct"  # type: ignore[arg-type]


@few
@given(_integers, _integers)
def test_integers_are_equal_when_they_are(a, b):
    assert correct(str(a), str(b)) == (a == b)


@few
@given(_fractions, _fractions, st.integers(1, 50))
def test_fractions_are_equal_when_they_are_whatever_their_form(a, b, factor):
    unreduced = f"{a.numerator * factor}/{a.denominator * factor}"
    if a.denominator > 1:
        assert correct(shown(a), unreduced)
    assert correct(shown(a), shown(b)) == (a == b)


@few
@given(st.lists(_integers, min_size=2, max_size=6, unique=True), st.randoms())
def test_sets_have_no_order_and_tuples_do(items, rng):
    mixed = items[:]
    rng.shuffle(mixed)
    braces, parentheses = ("\\{" + ", ".join(map(str, row)) + "\\}" for row in (items, mixed)), [items, mixed]
    first, second = braces
    assert correct(first, second)
    tuples = ["(" + ", ".join(map(str, row)) + ")" for row in parentheses]
    assert correct(*tuples) == (items == mixed)


@few
@given(
    _integers,
    st.sampled_from([" {} ", "\\text{{{}}}", "{{{}}}", "({})", "x = {}", "\\mathbf{{{}}}", "{}.", "\\left({}\\right)"]),
)
def test_dress_does_not_change_an_integer(value, dress):
    assert correct(str(value), dress.format(value))
    assert not correct(str(value + 1), dress.format(value))


@few
@given(_integers, st.text(string.ascii_letters + " ,.!?", min_size=1, max_size=20))
def test_a_strict_reward_takes_no_words_beside_the_number(value, words):
    if words.strip(" .,"):
        assert not correct(str(value), f"{value} \\text{{{words}}}")


@few
@given(st.text(max_size=200), st.text(string.printable, max_size=200))
@example("", "")
@example("42", "\\boxed{\\boxed{")
def test_every_pair_gets_a_decision_and_no_exception(reference, answer):
    for profile in ("strict", "lenient"):
        decision = decide(reference, answer, profile)  # type: ignore[arg-type]
        assert decision.rule


@few
@given(st.text(max_size=60), st.text(alphabet="{}\\ab $1", max_size=60))
def test_what_was_boxed_is_what_is_read(before, inside):
    balanced, depth = True, 0
    for index, character in enumerate(inside):
        escaped = index > 0 and inside[index - 1] == "\\"
        depth += 0 if escaped else {"{": 1, "}": -1}.get(character, 0)
        balanced &= depth >= 0
    if balanced and depth == 0 and "\\" not in inside and "<think>" not in before and "\\" not in before:
        assert extract_answer(f"{before} \\boxed{{{inside}}}").answer == inside


_numbers = st.integers(1, 999)
_formulas = st.recursive(
    st.one_of(_numbers.map(str), st.sampled_from(["x", "y", "\\pi", "\\sqrt{2}", "n"])),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-"), inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"\\frac{{{pair[0]}}}{{{pair[1]}}}"),
        st.tuples(inner, st.integers(2, 5)).map(lambda pair: f"\\left({pair[0]}\\right)^{{{pair[1]}}}"),
        inner.map(lambda body: f"\\sqrt{{{body}}}"),
    ),
    max_leaves=4,
)
_DRESS = [
    lambda text: text.replace("\\frac", "\\dfrac"),
    lambda text: text.replace("\\frac", "\\tfrac"),
    lambda text: text.replace("\\left", "").replace("\\right", ""),
    lambda text: text.replace("(", "\\left(").replace(")", "\\right)").replace("\\left\\left", "\\left")
    .replace("\\right\\right", "\\right"),
    lambda text: text.replace("+", " + ").replace("-", " - "),
    lambda text: text.replace("+", "\\,+\\;").replace("}{", "} {"),
    lambda text: f"${text}$",
    lambda text: f"\\displaystyle {text}.",
]  # fmt: skip


@few
@given(_formulas, _formulas, st.sampled_from(_DRESS))
def test_dress_changes_no_verdict(reference, answer, dress):
    for profile in ("strict", "lenient"):
        assert decide(reference, answer, profile).status == decide(reference, dress(answer), profile).status
        assert correct(reference, reference, profile) == correct(reference, dress(reference), profile)


@few
@given(_formulas, st.data())
def test_one_digit_or_sign_changed_is_wrong(reference, data):
    places = [place for place, sign in enumerate(reference) if sign in "0123456789+-"]
    if not places or not correct(reference, reference):
        return
    place = data.draw(st.sampled_from(places))
    sign = reference[place]
    other = {"+": "-", "-": "+"}.get(sign) or data.draw(st.sampled_from([d for d in "123456789" if d != sign]))
    changed = reference[:place] + other + reference[place + 1 :]
    if _value(changed) is None or _value(reference) is None:
        return
    if not isclose(_value(changed), _value(reference), rel_tol=1e-9):  # 0 times anything, x - x: the same after all
        for profile in ("strict", "lenient"):
            assert not correct(reference, changed, profile)


def _value(formula: str) -> float | None:
    """The value at one point, by the plainest of means: Python's own arithmetic."""
    text = re.sub(r"\\left|\\right", "", formula).replace("\\pi", "(3.14159265)").replace("^", "**")
    while (done := re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", text)) != text or (
        done := re.sub(r"\\sqrt\{([^{}]*)\}", r"((\1)**0.5)", text)
    ) != text:
        text = done
    text = re.sub(r"\{([^{}]*)\}", r"(\1)", text)
    try:
        value = eval(text, {"__builtins__": {}}, {"x": 1.7320508, "y": 0.5772156, "n": 3.3027756})
    except (ArithmeticError, SyntaxError, TypeError, OverflowError):
        return None
    return value.real if not isinstance(value, complex) and abs(value) < 1e12 else None
