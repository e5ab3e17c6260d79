"""The same few problems, answered after each stage, and a look at what a teacher wrote for its student.

Texts that a model or a data file wrote leave here bounded and without control characters; the template escapes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from reasoning_pipeline.base.text import percent
from reasoning_pipeline.report.answers import (
    Answers,
    Transcript,
    excerpt,
    read_answers,
    read_rows,
    transcript,
    typical_problems,
)
from reasoning_pipeline.report.charts import finite
from reasoning_pipeline.report.results import (
    ROLES,
    Role,
    StageResult,
    checkpoints,
    roles,
    suites,
)

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan

FIRST_SUITE_PROBLEMS, OTHER_SUITE_PROBLEMS, ROLLOUTS_SHOWN = 3, 1, 3

AllAnswers = dict[tuple[str, str], Answers]
"""(step, suite) -> its answers, for every complete evaluation."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What one checkpoint made of a problem."""

    step: str
    role: Role
    transcript: Transcript
    share: str


@dataclass(frozen=True, kw_only=True)
class ShownProblem:
    suite: str
    question: str
    reference: str
    chains: tuple[tuple[Answered, ...], ...]
    """Teacher, student, baseline, each from its first checkpoint to its last; empty ones left out."""


@dataclass(frozen=True, kw_only=True)
class ShownRollouts:
    step: str
    role: Role
    summary: str
    rollouts: tuple[tuple[str, Transcript], ...]
    """(problem, what was written)."""


def all_answers(plan: Plan) -> AllAnswers:
    """Read once; gains, findings and transcripts all draw on it."""
    found = {}
    for step in checkpoints(plan):
        evaluation = plan.evaluation_of(step.name)
        if evaluation is not None and evaluation.artifact is not None:
            for suite in suites(plan):
                found[step.name, suite] = read_answers(evaluation.artifact.folder / suite)
    return found


def shown_problems(plan: Plan, results: list[StageResult], answers: AllAnswers) -> Iterator[ShownProblem]:
    for position, suite in enumerate(suites(plan)):
        evaluated = [r for role in ROLES for r in results if r.role == role and (r.step, suite) in answers]
        count = FIRST_SUITE_PROBLEMS if position == 0 else OTHER_SUITE_PROBLEMS
        chosen = typical_problems([answers[r.step, suite] for r in evaluated], count)
        asked = _questions(plan, suite, evaluated)
        for problem in chosen:
            question, reference = asked.get(problem, (problem, ""))
            yield ShownProblem(
                suite=suite,
                question=excerpt(question)[0],
                reference=excerpt(reference, 120)[0],
                chains=tuple(
                    tuple(_answered(r, answers[r.step, suite], problem) for r in evaluated if r.role == role)
                    for role in ROLES
                    if any(r.role == role for r in evaluated)
                ),
            )


def _answered(result: StageResult, answers: Answers, problem: str) -> Answered:
    right, scored = answers.scores.get(problem, (0, 0))
    share = f"{right} of {scored} samples right" if scored > 1 else ""
    return Answered(step=result.step, role=result.role, transcript=answers.first[problem], share=share)


def _questions(plan: Plan, suite: str, evaluated: list[StageResult]) -> dict[str, tuple[str, str]]:
    """Problem -> (question, reference answer), as stored beside the samples."""
    for result in evaluated:
        evaluation = plan.evaluation_of(result.step)
        if evaluation is not None and evaluation.artifact is not None:
            rows = read_rows(evaluation.artifact.folder / suite / "problems.jsonl")
            found = {str(r.get("id")): (str(r.get("question", r.get("id"))), str(r.get("answer", ""))) for r in rows}
            if found:
                return found
    return {}


def shown_rollouts(plan: Plan) -> Iterator[ShownRollouts]:
    chain = roles(plan)
    for step in plan.steps:
        if type(step.config).publishes != "rollouts" or step.artifact is None:
            continue
        result = step.artifact.record.result
        summary = [f"{result['rollouts']:,} rollouts"] if finite(result.get("rollouts")) else []
        if finite(result.get("accuracy")):
            summary.append(f"{percent(result['accuracy'])} % correct")
        if finite(result.get("mean_tokens")):
            summary.append(f"{result['mean_tokens']:.0f} tokens on average")
        rows = islice(read_rows(step.artifact.folder / "rollouts.jsonl"), ROLLOUTS_SHOWN)
        yield ShownRollouts(
            step=step.name,
            role=chain[step.name],
            summary=", ".join(summary),
            rollouts=tuple((excerpt(str(row.get("problem_id", "")), 120)[0], transcript(row)) for row in rows),
        )
