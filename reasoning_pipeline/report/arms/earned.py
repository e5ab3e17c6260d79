"""Which stage earned what, in a sentence each: what leaving the stage out costs, here and in the paper.

Arms that lack the same stage belong together, in the recipe's order. An arm whose name ends in `_matched` is the form
in which the steps of the stage that is left out go to another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from reasoning_pipeline.recipe.model import MAIN
from reasoning_pipeline.report.arms.outcomes import ArmResult, shorter_on_a_curve
from reasoning_pipeline.report.arms.text import interval, p_value, points
from reasoning_pipeline.report.parts import beside, parts

if TYPE_CHECKING:
    from reasoning_pipeline.statistics.over_seeds import Crossed

MATCHED = "_matched"
SIGNIFICANT = 0.05

Weight = Literal["costs", "gains", "unclear", "missing"]


@dataclass(frozen=True, kw_only=True)
class Form:
    """One way of going without the stage.

    Example:
        Form(arm="no_warmup", how="leaving it out", weight="costs", says="costs 8.1 points",
             detail="[5.0, 11.2], p 0.003", beside="−0.7 / −0.9, within noise")
    """

    arm: str
    how: str
    weight: Weight
    says: str
    detail: str
    beside: str
    """What somebody else found, where a workflow has that; else empty."""


@dataclass(frozen=True, kw_only=True)
class Earned:
    """What one stage is worth."""

    stage: str
    meaning: str
    forms: tuple[Form, ...]


def earned(results: Sequence[ArmResult], suite: str) -> tuple[Earned, ...]:
    """By stage, in the order in which the recipe's arms name them; the `_matched` forms behind the plain ones. Nothing
    where the main arm, with which all are compared, is not among them."""
    main = results[0]
    if main.arm != MAIN:
        return ()
    asking = [r for r in results if r.lacks and not shorter_on_a_curve(r, results)]
    found = []
    for stage in dict.fromkeys(r.lacks for r in asking):
        without = sorted((r for r in asking if r.lacks == stage), key=lambda r: r.arm.endswith(MATCHED))
        forms = (_form(r, suite, main, first=r is without[0]) for r in without)
        meanings = [part.meanings[stage] for part in parts() if stage in part.meanings]
        meaning = meanings[0] if meanings else without[0].description
        found.append(Earned(stage=stage, meaning=meaning, forms=tuple(forms)))
    return tuple(found)


def headline(results: Sequence[ArmResult], suite: str) -> str:
    """`All stages together take the student from 28.0 % to 92.9 % [87.7, 98.1] with 1,024 labels.` Where no arm says
    what it lacks, the arms are told apart by accuracy alone."""
    main = results[0]
    if main.arm == MAIN and any(result.lacks for result in results):
        if suite not in main.accuracy:
            return "The whole workflow has not been scored yet."
        start = f"from {100 * main.start[suite]:.1f}\u00a0% " if suite in main.start else ""
        reached = f"to {_percent(main, suite)} on {suite}, with {main.labels:,} labels"
        return f"All stages together take the student {start}{reached}.{_above(results, suite)}"
    scored = [result for result in results if suite in result.accuracy]
    if not scored:
        return "No arm has been scored yet."
    best = max(scored, key=lambda result: result.accuracy[suite].mean)
    beside = f"; {main.arm} has {_percent(main, suite)}" if best is not main and main in scored else ""
    return f"Highest of {len(scored)} arms on {suite}: {best.arm} with {_percent(best, suite)}{beside}."


def _above(results: Sequence[ArmResult], suite: str) -> str:
    """` Above it: direct with 96.9 % [94.2, 99.6].` Whoever reads one line only must know of these."""
    main = results[0].accuracy[suite].mean
    compared = [r for r in results[1:] if suite in r.accuracy and not shorter_on_a_curve(r, results)]
    above = sorted((r for r in compared if r.accuracy[suite].mean > main), key=lambda r: -r.accuracy[suite].mean)
    if not above:
        return " No arm is above it." if compared else ""
    return f" Above it: {', '.join(f'{r.arm} with {_percent(r, suite)}' for r in above)}."


def _percent(result: ArmResult, suite: str) -> str:
    """`92.9 % [87.7, 98.1]`."""
    mean, _, ends = interval(result.accuracy[suite]).partition(" ")
    return f"{mean}\u00a0% {ends}".rstrip()


def _form(result: ArmResult, suite: str, main: ArmResult, *, first: bool) -> Form:
    weight, says, detail = _weighed(result.difference.get(suite), result.p_holm.get(suite))
    if result.arm.endswith(MATCHED):
        how = "its steps given to another stage"
    else:
        how = "leaving it out" if first else f"as {result.arm}"
    other = beside(result.sections, main.sections)
    return Form(
        arm=result.arm, how=how, weight=weight, says=says, detail=detail, beside=other.long if other is not None else ""
    )


def _weighed(difference: Crossed | None, p: float | None) -> tuple[Weight, str, str]:
    """A difference to the main arm turned round: what the arm without the stage lacks is what the stage is worth."""
    if difference is None:
        return "missing", "not scored yet", ""
    figure, _, ends = points(difference).partition(" ")
    if p is None or p >= SIGNIFICANT or difference.low is None or difference.high is None:
        said = ", ".join(part for part in (f"{figure} points {ends}".strip(), f"p {p_value(p)}" if p else "") if part)
        return "unclear", "within noise", said.replace(" ", "\u00a0")
    verb: Weight = "costs" if difference.mean < 0 else "gains"
    sign = -100 if difference.mean < 0 else 100
    low, high = sorted((sign * difference.low, sign * difference.high))
    said = f"[{low:.1f}, {high:.1f}], p {p_value(p)}".replace("-", "−")
    return verb, f"{verb} {abs(100 * difference.mean):.1f} points", said.replace(" ", "\u00a0")
