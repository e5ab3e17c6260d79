"""A plan -> everything the page says, as plain records; the template only arranges it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasoning_pipeline.recipe.arms import ALL
from reasoning_pipeline.recipe.stage import Evaluation
from reasoning_pipeline.report.answers import Gain, read_rows
from reasoning_pipeline.report.arms.front import Front, front
from reasoning_pipeline.report.arms.outcomes import has_arms
from reasoning_pipeline.report.charts import number
from reasoning_pipeline.report.checkpoint_chart import AccuracyChart, Finding, accuracy_chart, findings, stage_gains
from reasoning_pipeline.report.curves import Curves, training_curves
from reasoning_pipeline.report.lineage import Graph, lineage_graph
from reasoning_pipeline.report.making import Facts, StepDetails, pushes, shared_provenance, step_details
from reasoning_pipeline.report.parts import PageSection, parts
from reasoning_pipeline.report.results import (
    Accuracy,
    StageResult,
    minutes,
    seconds_of,
    stage_results,
    suites,
)
from reasoning_pipeline.report.transcripts import (
    ShownProblem,
    ShownRollouts,
    all_answers,
    shown_problems,
    shown_rollouts,
)

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan


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
    front: Front | None
    """None for one arm under one seed; where there are more, the rest of the page is about the first of them."""
    parts: tuple[PageSection, ...]
    """Sections of the recipe's workflow."""
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
    evaluation = next((step.config for step in plan.steps if isinstance(step.config, Evaluation)), None)
    charts = tuple(accuracy_chart(suite, results, gains) for suite in suites(plan))
    return Page(
        name=plan.recipe.name,
        description=plan.recipe.description,
        expectation=plan.recipe.expectation,
        missing=tuple(step.name for step in whole.steps if not step.complete),
        total=len(whole.steps),
        front=front(whole) if has_arms(whole) else None,
        parts=tuple(section for part in parts() for section in part.sections(whole.of_arms([ALL], whole.seeds[:1]))),
        facts=tuple(_facts(whole, stage_results(whole) if has_arms(whole) else results)),
        findings=tuple(finding for suite in suites(plan) for finding in findings(suite, results, answers)),
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
        samples=evaluation.samples if evaluation is not None else "k",
        decoding=evaluation.decoding() if evaluation is not None else "",
        pushes=tuple(pushes(plan)),
        provenance=shared_provenance(records),
        details=tuple(step_details(step) for step in plan.steps),
        written=max((record.created for record in records), default=""),
    )


def first_arm(plan: Plan) -> Plan:
    """What the page shows step by step: the main arm under the first seed, or whichever comes first."""
    return plan.of_arms([plan.arms[0].name], plan.seeds[:1]) if has_arms(plan) else plan


def _facts(plan: Plan, results: list[StageResult]) -> Iterator[tuple[str, str]]:
    from reasoning_pipeline.registry.record import distinct_labels

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
        curves = training_curves(rows, type(plan.step(result.step).config).metric_titles)
        if curves.large or curves.small:
            yield StepCurves(result=result, about=_about(result.stage), curves=curves)


def _about(stage: str) -> str:
    """The first sentence of the stage's own description."""
    from reasoning_pipeline.recipe.workflows import stage_module

    paragraph = (inspect.getdoc(stage_module(stage)) or "").split("\n\n", maxsplit=1)[0]
    return " ".join(paragraph.split())
