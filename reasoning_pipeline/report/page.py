"""A plan -> everything the page says, as plain records; the template only arranges it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasoning_pipeline.report.answers import (
    Gain,
    paired_gain,
    read_rows,
)
from reasoning_pipeline.report.arm_charts import ArmSection, arm_section
from reasoning_pipeline.report.arms import has_arms
from reasoning_pipeline.report.charts import Tick, accuracy_scale, number, percent_ticks
from reasoning_pipeline.report.curves import Curves, training_curves
from reasoning_pipeline.report.gates import GateSection, gate_section
from reasoning_pipeline.report.lineage import Graph, lineage_graph
from reasoning_pipeline.report.making import Facts, StepDetails, decoding, pushes, shared_provenance, step_details
from reasoning_pipeline.report.results import (
    ROLES,
    Accuracy,
    Role,
    StageResult,
    minutes,
    percent,
    seconds_of,
    stage_results,
    suites,
    with_error,
)
from reasoning_pipeline.report.transcripts import (
    AllAnswers,
    ShownProblem,
    ShownRollouts,
    all_answers,
    shown_problems,
    shown_rollouts,
)

if TYPE_CHECKING:
    from reasoning_pipeline.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One checkpoint in the accuracy chart; positions in percent of the axis."""

    result: StageResult
    start: float | None
    at: float | None
    low: float | None
    high: float | None
    figure: str
    gain: str

    @property
    def bar(self) -> tuple[float, float] | None:
        """(from, width) of what the stage earned, or lost."""
        if self.start is None or self.at is None:
            return None
        return min(self.start, self.at), round(abs(self.at - self.start), 2)


@dataclass(frozen=True, kw_only=True)
class AccuracyChart:
    suite: str
    chains: tuple[tuple[Role, tuple[Mark, ...]], ...]
    ticks: tuple[Tick, ...]
    teacher: float | None
    """Where the trained teacher stands, drawn through the others' rows."""
    teacher_step: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Example:
    Finding(suite="arithmetic", text="polish 89.6 %, direct 79.7 %, with 1,024 labels each: +10.0 ± 1.1 points")
    """

    suite: str
    text: str


@dataclass(frozen=True, kw_only=True)
class StepCurves:
    result: StageResult
    about: str
    curves: Curves


@dataclass(frozen=True, kw_only=True)
class Page:
    name: str
    description: str
    expectation: str
    missing: tuple[str, ...]
    total: int
    facts: Facts
    arms: ArmSection | None
    """None for one arm under one seed; where there are more, the rest of the page is about the first of them."""
    gates: GateSection | None
    """None where the recipe measures no gate, or has not yet."""
    findings: tuple[Finding, ...]
    suites: tuple[str, ...]
    charts: tuple[AccuracyChart, ...]
    results: tuple[StageResult, ...]
    gains: dict[tuple[str, str], Gain]
    curves: tuple[StepCurves, ...]
    problems: tuple[ShownProblem, ...]
    rollouts: tuple[ShownRollouts, ...]
    graph: Graph
    evaluations: tuple[tuple[str, str, Accuracy], ...]
    samples: int | str
    """Per problem, in evaluations."""
    decoding: str
    pushes: tuple[tuple[str, Facts], ...]
    provenance: Facts
    details: tuple[StepDetails, ...]
    written: str
    """When the newest artifact was made: the page of a finished run never changes."""


def make_page(whole: Plan) -> Page:
    plan = first_arm(whole)
    results = stage_results(plan)
    answers = all_answers(plan)
    gains = stage_gains(results, answers)
    records = [step.artifact.record for step in plan.steps if step.artifact is not None]
    charts = tuple(_accuracy_chart(suite, results, gains) for suite in suites(plan))
    return Page(
        name=plan.recipe.name,
        description=plan.recipe.description,
        expectation=plan.recipe.expectation,
        missing=tuple(step.name for step in whole.steps if not step.complete),
        total=len(whole.steps),
        arms=arm_section(whole) if has_arms(whole) else None,
        gates=gate_section(whole),
        facts=tuple(_facts(whole, stage_results(whole) if has_arms(whole) else results)),
        findings=tuple(finding for suite in suites(plan) for finding in _findings(suite, results, answers)),
        suites=suites(plan),
        charts=charts,
        results=tuple(results),
        gains=gains,
        curves=tuple(_step_curves(plan, results)),
        problems=tuple(shown_problems(plan, results, answers)),
        rollouts=tuple(shown_rollouts(plan)),
        graph=lineage_graph(plan),
        evaluations=tuple(
            (suite, r.step, r.after[suite]) for suite in suites(plan) for r in results if suite in r.after
        ),
        samples=plan.recipe.evaluate.samples if plan.recipe.evaluate else "k",
        decoding=decoding(plan),
        pushes=tuple(pushes(plan)),
        provenance=shared_provenance(records),
        details=tuple(step_details(step) for step in plan.steps),
        written=max((record.created for record in records), default=""),
    )


def first_arm(plan: Plan) -> Plan:
    """What the page shows step by step: the main arm under the first seed, or whichever comes first."""
    return plan.of_arms([plan.arms[0].name], plan.seeds[:1]) if has_arms(plan) else plan


def all_gains(plan: Plan) -> dict[tuple[str, str], Gain]:
    """(step, suite) -> what the step earned over its start, paired by problem."""
    return stage_gains(stage_results(plan), all_answers(plan))


def stage_gains(results: Iterable[StageResult], answers: AllAnswers) -> dict[tuple[str, str], Gain]:
    gains = {}
    for result in results:
        for suite in result.before.keys() & result.after.keys():
            before, after = answers.get((result.policy or "", suite)), answers.get((result.step, suite))
            gain = paired_gain(before, after) if before and after else None
            if gain is not None:
                gains[result.step, suite] = gain
    return gains


def signed(gain: Gain | None) -> str:
    """`+54.0 ± 1.3`, in points."""
    if gain is None:
        return "–"
    error = "" if not gain.se else f"\u00a0±\u00a0{100 * gain.se:.1f}"
    return f"{100 * gain.difference:+.1f}{error}".replace("-", "−")


# What each stage earned


def _accuracy_chart(suite: str, results: list[StageResult], gains: dict[tuple[str, str], Gain]) -> AccuracyChart:
    measured = [r.after[suite] for r in results if suite in r.after]
    scale = accuracy_scale(max((a.high or a.mean for a in measured), default=1.0))

    def at(share: float | None) -> float | None:
        return None if share is None else scale.at(share)

    def mark(result: StageResult) -> Mark:
        before, after = result.before.get(suite), result.after.get(suite)
        gain = gains.get((result.step, suite))
        return Mark(
            result=result,
            start=at(before.mean) if before else None,
            at=at(after.mean) if after else None,
            low=at(after.low) if after else None,
            high=at(after.high) if after else None,
            figure=with_error(after) if after else ("not evaluated" if result.state == "complete" else "not run yet"),
            gain=signed(gain) if gain else "",
        )

    chains = ((role, tuple(mark(r) for r in results if r.role == role)) for role in ROLES)
    teacher = _last("teacher", suite, results)
    return AccuracyChart(
        suite=suite,
        chains=tuple((role, marks) for role, marks in chains if marks),
        ticks=percent_ticks(scale),
        teacher=at(teacher.after[suite].mean) if teacher else None,
        teacher_step=teacher.step if teacher else "",
        caption=_sampling(measured),
    )


def _sampling(measured: list[Accuracy]) -> str:
    """`500 problems × 4 samples`, where all checkpoints were asked alike."""
    asked = {(a.problems, a.samples) for a in measured if a.problems is not None}
    if len(asked) != 1:
        return ""
    problems, samples = asked.pop()
    return f"{problems:,} problems" + (f" × {samples} samples" if samples else "")


def _last(role: Role, suite: str, results: list[StageResult]) -> StageResult | None:
    """The last measured checkpoint of a chain that training, not its making, brought about."""
    return next((r for r in reversed(results) if r.role == role and r.policy is not None and suite in r.after), None)


def _findings(suite: str, results: list[StageResult], answers: AllAnswers) -> Iterator[Finding]:
    """The comparison the run was made for: each student that nothing continues from against the baseline."""
    measured = [r for r in results if suite in r.after]
    if measured and all(r.after[suite].mean == 0 for r in measured):
        asked = _sampling([r.after[suite] for r in measured]) or "its problems"
        yield Finding(suite=suite, text=f"no checkpoint answered anything correctly ({asked})")
        return
    baseline = _last("baseline", suite, results)
    if baseline is None:
        return
    continued = {r.policy for r in results}
    for student in measured:
        if student.role == "student" and student.policy is not None and student.step not in continued:
            gain = paired_gain(answers[baseline.step, suite], answers[student.step, suite])
            if gain is not None:
                yield Finding(suite=suite, text=_compared(suite, student, baseline, gain))


def _compared(suite: str, student: StageResult, baseline: StageResult, gain: Gain) -> str:
    if student.labels == baseline.labels:
        labels = f"with {student.labels:,} labels each"
    else:
        labels = f"with {student.labels:,} and {baseline.labels:,} labels"
    noise = gain.se is not None and abs(gain.difference) < 2 * gain.se
    accuracies = ", ".join(f"{r.step} {percent(r.after[suite].mean)}\u00a0%" for r in (student, baseline))
    return f"{accuracies}, {labels}: {signed(gain)} points{', within noise' if noise else ''}"


def _facts(plan: Plan, results: list[StageResult]) -> Iterator[tuple[str, str]]:
    from reasoning_pipeline.labels import distinct_labels

    if has_arms(plan):  # each has its own account
        yield "arms", str(len({arm.name for arm in plan.arms}))
    else:
        labels = distinct_labels([spend for step in plan.steps if step.complete for spend in step.spends])
        yield "labels bought", f"{labels:,}"
    yield "checkpoints", f"{sum(r.state == 'complete' for r in results)} of {len(results)}"
    trained = [r.seconds for r in results if r.seconds is not None]
    if trained:
        yield "training", f"{minutes(sum(trained))} min"
    others = [s.artifact for s in plan.steps if s.artifact is not None and type(s.config).publishes != "checkpoint"]
    known = [seconds for artifact in others if (seconds := seconds_of(artifact.record)) is not None]
    if known:
        yield "rollouts and evaluation", f"{minutes(sum(known))} min"
    tokens = [step.artifact.record.result.get("tokens_generated") for step in plan.steps if step.artifact is not None]
    generated = sum(count for count in tokens if isinstance(count, int))
    if generated:
        yield "tokens generated in training", number(generated)
    yield "seeds" if len(plan.seeds) > 1 else "seed", ", ".join(map(str, plan.seeds))


# Training curves


def _step_curves(plan: Plan, results: list[StageResult]) -> Iterator[StepCurves]:
    for result in results:
        artifact = plan.step(result.step).artifact
        rows = list(read_rows(artifact.folder / "metrics.jsonl")) if artifact is not None else []
        curves = training_curves(rows, result.stage)
        if curves.large or curves.small:
            yield StepCurves(result=result, about=_about(result.stage), curves=curves)


def _about(stage: str) -> str:
    """The first sentence of the stage's own description."""
    from reasoning_pipeline.stage import stage_module

    paragraph = (inspect.getdoc(stage_module(stage)) or "").split("\n\n", maxsplit=1)[0]
    return " ".join(paragraph.split())
