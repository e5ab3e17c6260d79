"""The rules of both profiles, one line of answers.tsv each."""

from __future__ import annotations

from pathlib import Path

import pytest

LINES = [
    line.split("\t")
    for line in (Path(__file__).parent / "answers.tsv").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]


@pytest.mark.parametrize("line", LINES, ids=[line[4] for line in LINES])
def test_a_rule_of_the_table(judge, line):
    reference, answer, strict, lenient, _ = line
    verdicts = [judge(reference, answer, profile) for profile in ("strict", "lenient")]
    assert ["yes" if verdict.correct else "no" for verdict in verdicts] == [strict, lenient], verdicts


@pytest.mark.parametrize("profile", ["strict", "lenient"])
@pytest.mark.parametrize(
    "bomb",
    [
        "10^{10^{10}}",
        "9^{9^{9^{9}}}",
        "(10^{100})!",
        r"\binom{10^9}{10^8}",
        r"(2+\sqrt{3})^{100000}",
        r"\frac{10^{10^9}}{10^{10^9}-1}",
        r"\sum_{k=1}^{10^9} k^k",
        r"7^{77^{777}} \bmod 10",
        "(" * 3000 + "1" + ")" * 3000,
        "1+" * 5000 + "1",
    ],
)
def test_what_is_too_large_is_refused_at_once(judge, bomb, profile):
    verdict = judge("42", bomb, profile)
    assert verdict.status in ("too_long", "wrong")
    assert verdict.seconds < 2.0  # microseconds, on a machine that is not busy; computed, each would take minutes


def test_a_huge_reference_still_accepts_itself(judge):
    assert judge("9^{9^{9}}", "9^{9^{9}}").correct
    assert not judge("9^{9^{9}}", "9^{9^{8}}").correct


def test_an_empty_reference_never_matches(verifiers):
    for verifier in verifiers.values():
        for text in ("", r"\boxed{}", r"\boxed{ }", r"\boxed{0}", "nothing"):
            verdict = verifier.judge([" "], [text])[0]
            assert (verdict.status, verdict.reward) == ("reference_unparsed", None)


def test_a_broken_reference_is_not_a_wrong_answer(judge):
    verdict = judge(r"\frac{", "7")
    assert (verdict.status, verdict.reward) == ("reference_unparsed", None)


@pytest.mark.parametrize("reference", ["a+b+c", r"\sin^2 t", "4t", r"\sqrt{x}", "(a, b)", r"x^2 + y"])
@pytest.mark.parametrize("answer", ["1+i", r"\aleph_0", r"\oint f", "?!", "x = ", r"\sum_{k=1}^3 k", r"i^i"])
def test_no_answer_leaves_the_score_of_an_audited_reference(judge, reference, answer):
    for profile in ("strict", "lenient"):
        assert judge(reference, answer, profile).reward == 0.0


# Each line changes what is said; `@` stands for the reference. A few would be true of other references (an empty set
# without 1 is empty), and of these they are not.
WRONG_DRESS = (Path(__file__).parent / "wrong_dress.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    "reference", ["42", r"\frac{3}{4}", r"2\sqrt{3}", "[1,3)", r"\text{east}", r"5\text{ cm}", r"90^\circ"]
)
def test_no_reference_is_paid_in_a_dress_that_changes_it(verifiers, reference):
    answers = [dress.replace("@", reference) for dress in WRONG_DRESS]
    verdicts = verifiers["strict"].judge([reference] * len(answers), [f"\\boxed{{{answer} }}" for answer in answers])
    assert [answer for answer, verdict in zip(answers, verdicts, strict=True) if verdict.correct] == []
