r"""What stands in a question: it may name the quantity of an answer, and it may not be handed back as one."""

from __future__ import annotations

import pytest

from benchmarks.verifier_copies import boxed, equal_spans, rewrites
from reasoning_pipeline.records import Verdict
from reasoning_pipeline.verifier.questions import is_reference, spans

SIMPLIFY = r"Simplify $\sqrt{75}$ completely."


@pytest.fixture
def strict(verifiers):
    def judge(question: str, reference: str, answer: str) -> Verdict:
        return verifiers["strict"].judge([reference], [boxed(answer)], questions=[question])[0]

    return judge


@pytest.mark.parametrize(
    ("question", "reference", "copy"),
    [
        (SIMPLIFY, r"5\sqrt{3}", r"0+\sqrt{75}"),
        (SIMPLIFY, r"5\sqrt{3}", r"1\cdot\sqrt{75}"),
        (SIMPLIFY, r"5\sqrt{3}", r"75^{1/2}"),
        (SIMPLIFY, r"5\sqrt{3}", r"\sqrt{74+1}"),
        (SIMPLIFY, r"5\sqrt{3}", r"\frac{2\sqrt{75}}{2}"),
        (SIMPLIFY, r"5\sqrt{3}", r"\text{$\sqrt{75}$}"),
        (SIMPLIFY, r"5\sqrt{3}", r"\sqrt{75}=\sqrt{75}"),
        (SIMPLIFY, r"5\sqrt{3}", r"x = \sqrt{75}"),
        (SIMPLIFY, r"5\sqrt{3}", r"\left|\sqrt{75}\right|"),
        (SIMPLIFY, r"5\sqrt{3}", r"e^{\ln\sqrt{75}}"),
        (SIMPLIFY, r"5\sqrt{3}", r"\sqrt{75.0}"),
        (SIMPLIFY, r"5\sqrt{3}", r"\sqrt{75}\cdot y^0"),
        (SIMPLIFY, r"5\sqrt{3}", r"\max(0,\sqrt{75})"),
        (r"Rationalise $\frac{6}{\sqrt{3}}$.", r"2\sqrt{3}", r"\frac{6}{\sqrt{3}}\cdot\cos 0"),
        (r"Solve $\frac1x + \frac1y = 1$ for $y$.", r"y=\frac{x}{x-1}", "x + y = xy"),
        (r"The figure has $x = 3$. What is the number of its sides?", "3", "x = 3"),
        (r"Expand $(x+3)(x-1)$.", "x^2+2x-3", "(x-1)(x+3)"),
        (r"Write $0.\overline{37}$ as a fraction.", r"\frac{37}{99}", r"0.\overline{37}"),
        (r"Write $0.\overline{37}$ as a fraction.", r"\frac{37}{99}", r"0+0.\overline{37}"),
        (r"Reduce $\frac{18}{24}$.", r"\frac{3}{4}", r"\frac{18}{24}"),
        (r"What fraction is $0.875$?", r"\frac{7}{8}", "0.875"),
        (r"Solve $x + 3 > 5$.", r"(2,\infty)", "x+3>5"),
        (r"Solve $x + 3 > 5$.", r"(2,\infty)", "5 < 3 + x"),
        (r"Solve $|x| < 4$.", "(-4,4)", "|x|<4"),
        (r"Solve $2x + 3 = 13$.", "x=5", "2x+3=13"),
        (r"Put $4x - 2y + 6 = 0$ into slope-intercept form.", "y=2x+3", "2x-y+3=0"),
        (r"Put $x^2 - 4x + y^2 = 5$ into standard form.", "(x-2)^2+y^2=9", "5 = y^2 + x^2 - 4x"),
        (r"The roots are $\sqrt{8}$ and $\sqrt{18}$; simplify.", r"2\sqrt2, 3\sqrt2", r"\sqrt8, \sqrt{18}"),
    ],
)
def test_what_the_question_says_is_no_answer_to_it(strict, question, reference, copy):
    verdict = strict(question, reference, copy)
    assert not verdict.correct, verdict
    assert strict(question, reference, reference).correct


@pytest.mark.parametrize(
    ("question", "reference", "answer"),
    [
        (r"Which is larger, $2^{30}$ or $3^{20}$?", "3^{20}", "3^{20}"),
        (r"Which is larger, $0.7$ or $\frac23$?", "0.7", "0.7"),
        (r"Collect terms: $x + x + 3$.", "2x+3", "3 + 2x"),
        (r"Collect terms: $x + 3 + 4$.", "x+7", "7 + x"),
        (r"Solve $x + 3 > 5$.", r"(2,\infty)", "x > 2"),
        (r"Put $4x - 2y + 6 = 0$ into slope-intercept form.", "y=2x+3", "y = 3 + 2x"),
        (SIMPLIFY, r"5\sqrt{3}", r"\sqrt{3}\cdot 5"),
        (r"If $m$ and $n$ are coprime, find $m+n$.", "113", "m+n=113"),
        (r"If $m$ and $n$ are coprime, find $m+n$.", "113", "113 = n + m"),
        (r"Find $\angle PQR$ in degrees.", r"40^\circ", r"\angle PQR = 40^\circ"),
        (r"Compute $f(-2)+f(-1)$.", "7", "f(-2)+f(-1)=7"),
        (r"What is $6\times7$?", "42", r"6\times 7=42"),
        (r"Find $\frac{1}{2}+\frac{1}{3}$.", r"\frac56", r"\frac12+\frac13=\frac56"),
    ],
)
def test_what_answers_the_question_is_paid(strict, question, reference, answer):
    verdict = strict(question, reference, answer)
    assert verdict.correct, verdict


@pytest.mark.parametrize(
    ("question", "reference", "answer"),
    [
        ("Find $m+n$.", "113", "p-q=113"),
        ("Find $m+n$.", "113", "112+1=113"),
        (r"Compare $6\times7$ with $5\times8$.", "42", r"5\times8=42"),
        ("Find $m+n$.", "113", "m+n=112"),
    ],
)
def test_a_left_side_that_nobody_asked_for_is_not(strict, question, reference, answer):
    assert not strict(question, reference, answer).correct


def test_copies_of_a_few_questions_are_searched_for_as_the_benchmark_does(verifiers):
    problems = [
        (SIMPLIFY, r"5\sqrt{3}"),
        (r"Rationalise $\frac{6}{\sqrt{3}}$ and give the answer.", r"2\sqrt{3}"),
        (r"Find the value of $\left(2^3\right)^2 + x$ in terms of $x$.", "64+x"),
        (r"What inequality is the same as $3x - 1 \le 8$?", r"x \le 3"),
    ]
    paid, offered = [], 0
    for question, reference in problems:
        forms = [
            form
            for span in equal_spans(question, reference, verifiers["lenient"])
            for form in rewrites(span)
            if not is_reference(form, reference)
        ]
        verdicts = verifiers["strict"].judge(
            [reference] * len(forms), list(map(boxed, forms)), questions=[question] * len(forms)
        )
        offered += len(forms)
        paid += [form for form, verdict in zip(forms, verdicts, strict=True) if verdict.correct]
    assert offered > 30 and not paid


def test_a_huge_question_is_read_in_part():
    assert len(spans("$" + "x^2+" * 20_000 + "1$ " * 50).plain) < 10_000
