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
    assert verdict.seconds < 0.25  # microseconds, on a machine that is not busy


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


def test_a_calculation_copied_from_the_question_earns_nothing(verifiers):
    question = r"What is $2^{10} - 2\sqrt{3}$ in simplest form?"
    texts = [r"\boxed{2^{10} - 2\sqrt{3}}", r"\boxed{1024 - 2\sqrt{3}}"]
    copied, answered = verifiers["strict"].judge([r"1024 - 2\sqrt{3}"] * 2, texts, questions=[question] * 2)
    assert (copied.status, copied.rule) == ("wrong", "copied question")
    assert answered.correct


def test_a_choice_named_in_the_question_is_not_copying(verifiers):
    verdict = verifiers["strict"].judge(
        ["3^{20}"], [r"\boxed{3^{20}}"], questions=["Which is larger, $2^{30}$ or $3^{20}$?"]
    )
    assert verdict[0].correct
