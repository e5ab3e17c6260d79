r"""References checked before anything is trained or scored on them.

A reference that cannot be read would be a fault of the data paid for by the policy. It must be read as LaTeX, equal
itself, and is stored in canonical form; what fails is set aside with its id and reason, never judged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reasoning_pipeline.records import Problem
from reasoning_pipeline.verifier.answers import read
from reasoning_pipeline.verifier.bounds import TooLarge, Unreadable
from reasoning_pipeline.verifier.compare import Comparison
from reasoning_pipeline.verifier.expressions import NeedsAlgebra
from reasoning_pipeline.verifier.grading import integer
from reasoning_pipeline.verifier.spelling import ascii_latex
from reasoning_pipeline.verifier.verifier import shared_verifier


@dataclass(frozen=True, kw_only=True)
class ReferenceAudit:
    """What a data set's references are worth.

    Example:
        ReferenceAudit(usable=[Problem(id="aime-3", question="...", answer="25")], set_aside=[("train-7115", "empty")])
    """

    usable: list[Problem]
    """With canonical answers, in their order."""
    set_aside: list[tuple[str, str]]
    """Id and reason of each problem that must not be trained or scored on."""


def audit_references(problems: Sequence[Problem]) -> ReferenceAudit:
    """Every problem either usable with a canonical answer, or set aside with a reason."""
    usable: dict[int, Problem] = {}
    set_aside: dict[int, str] = {}
    for_algebra: list[int] = []
    for index, problem in enumerate(problems):
        try:
            usable[index] = replace(problem, answer=canonical(problem.answer, aime=_is_aime(problem)))
        except NeedsAlgebra:
            for_algebra.append(index)
        except Unreadable as error:
            set_aside[index] = str(error)
    replies = shared_verifier("strict").pool.run([{"audit": problems[index].answer} for index in for_algebra])
    for index, reply in zip(for_algebra, replies, strict=True):
        if reply["status"] == "correct":
            usable[index] = replace(problems[index], answer=_tidy(problems[index].answer))
        else:
            set_aside[index] = f"math-verify: {reply['rule']}"
    return ReferenceAudit(
        usable=[usable[index] for index in sorted(usable)],
        set_aside=[(problems[index].id, set_aside[index]) for index in sorted(set_aside)],
    )


def canonical(answer: str, *, aime: bool = False) -> str:
    r"""The answer in canonical form; raises `Unreadable` with the reason why it cannot serve as a reference.

    Examples:
        canonical("025") == "25"; canonical(r"\frac \pi4.") == r"\frac{\pi}{4}"
        canonical(r"336^\circ", aime=True) == "336", since AIME answers are integers whatever their unit
    """
    if not isinstance(answer, str) or not answer.strip():
        raise Unreadable("empty")
    if (whole := integer(answer)) is not None:
        return str(whole)
    readings = read(answer)
    if Comparison("strict").readings(readings, readings) is not True:
        raise Unreadable("not equal to itself")
    first = readings[0]
    if first[0] == "expr":
        tree = first[1][1] if aime and first[1][0] == "deg" else first[1]
        if tree[0] == "n":
            return str(tree[1])
    tidy = _tidy(answer)
    try:
        unchanged = Comparison("strict").readings(readings, read(tidy)) is True
    except (Unreadable, TooLarge):
        unchanged = False
    return tidy if unchanged else answer.strip()


def _tidy(answer: str) -> str:
    r"""One spelling for what is written in several: `\dfrac12.` becomes `\frac{1}{2}`."""
    text = ascii_latex(answer).strip().strip("$").strip()
    text = re.sub(r"\\[dtc]frac(?![A-Za-z])", r"\\frac", text)
    text = re.sub(
        r"\\frac\s*(?:\{([^{}]*)\}|(\\[A-Za-z]+|\w))\s*(?:\{([^{}]*)\}|(\\[A-Za-z]+|\w))", _braced_fraction, text
    )
    text = re.sub(r"\\sqrt\s*(\w)", r"\\sqrt{\1}", text)
    text = re.sub(r",?\\!", "", text)
    return re.sub(r"\s+", " ", text).rstrip(" .,;")


def _braced_fraction(match: re.Match[str]) -> str:
    top, bottom = match[1] if match[1] is not None else match[2], match[3] if match[3] is not None else match[4]
    return f"\\frac{{{top.strip()}}}{{{bottom.strip()}}}"


def _is_aime(problem: Problem) -> bool:
    return "aime" in problem.id.lower() or any("aime" in str(value).lower() for value in problem.meta.values())
