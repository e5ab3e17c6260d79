"""References: which are usable, in what form, and why the others are not."""

from __future__ import annotations

import pytest

from reasoning_pipeline.records import Problem
from reasoning_pipeline.verifier import audit_references, verifier_versions


def audited(answer: str, id_: str = "p") -> str | None:
    usable = audit_references([Problem(id=id_, question="?", answer=answer)]).usable
    return usable[0].answer if usable else None


@pytest.mark.parametrize(
    ("answer", "stored"),
    [
        ("025", "25"),
        ("1,\\!000", "1000"),
        ("12,345", "12345"),
        (r"\dfrac12", r"\frac{1}{2}"),
        (r"\frac \pi4 + 2 - \sqrt2", r"\frac{\pi}{4} + 2 - \sqrt{2}"),
        (r"\begin{pmatrix} -1 & 0 \\ 0 & 2 \end{pmatrix}.", r"\begin{pmatrix} -1 & 0 \\ 0 & 2 \end{pmatrix}"),
        ("4t", "4t"),
        (r"1 \pm \sqrt2", r"1 \pm \sqrt{2}"),
        (r"\text{Evelyn}", r"\text{Evelyn}"),
        (r"90^\circ", r"90^\circ"),
        (r"\sum_{k=1}^{n} k", r"\sum_{k=1}^{n} k"),
    ],
)
def test_a_reference_is_stored_in_canonical_form(answer, stored):
    assert audited(answer) == stored


def test_aime_references_are_integers():
    assert audited(r"336^\circ", "aime2025/II/05") == "336"


@pytest.mark.parametrize("answer", ["", "  ", r"\frac{", r"\frac{0}{0}", r"1 & \phantom -1", "(1, 2", "!" * 600])
def test_what_cannot_be_judged_is_set_aside_with_a_reason(answer):
    audit = audit_references(
        [Problem(id="bad", question="?", answer=answer), Problem(id="good", question="?", answer="7")]
    )
    assert [problem.id for problem in audit.usable] == ["good"]
    assert audit.set_aside[0][0] == "bad" and audit.set_aside[0][1]


def test_versions_of_everything_under_a_verdict_are_known():
    assert set(verifier_versions()) >= {
        "verifier",
        "math-verify",
        "latex2sympy2_extended",
        "sympy",
        "antlr4-python3-runtime",
    }
    assert "not installed" not in verifier_versions().values()
