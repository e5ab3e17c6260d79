"""What was measured along the way, and what a run does about it: a sentence each, and whether it goes on.

A measurement is a step that publishes a `measurement`. What it means, and whether the recipe asks anything of it, is
told by the workflow's judge. Thresholds are no part of any fingerprint, so a changed one judges anew what is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.plan.graph import Plan, PlannedStep
from reasoning_pipeline.recipe.workflows import contributed


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One measurement against the recipe's threshold.

    Example:
        Judgement(step="warmup.c2", gate="C2", held=False, on_failure="stop",
                  sentence="C2 does not hold for warmup against teacher_rl: reverse KL 0.234 nats per token, …")
    """

    step: str
    gate: str
    held: bool | None
    """None where no threshold is asked at this place, or nothing could be measured."""
    on_failure: str
    """`stop` ends the run where the condition does not hold."""
    sentence: str


class Judge:
    """A workflow's judge; its `in_plan.py` lists them."""

    def judge(self, plan: Plan, step: PlannedStep) -> Judgement | None:
        """Of a measurement that has been made; None for steps that are another judge's."""
        return None

    def may_stop(self, plan: Plan, step: PlannedStep) -> bool:
        """Whether the recipe ends the run where this measurement turns out badly."""
        return False


class GateFailed(PipelineError):
    """A condition that the recipe requires does not hold."""


def judges() -> tuple[Judge, ...]:
    return contributed("in_plan")


def judgement(plan: Plan, step: PlannedStep) -> Judgement | None:
    """None for a step that measures nothing, or that has not run."""
    if step.artifact is None:
        return None
    return next((judged for judge in judges() if (judged := judge.judge(plan, step)) is not None), None)


def judgements(plan: Plan) -> list[Judgement]:
    """Every measurement of the plan that is there, in plan order."""
    return [judged for step in plan.steps if (judged := judgement(plan, step)) is not None]


def measured(steps: Iterable[PlannedStep]) -> list[PlannedStep]:
    """Those of the steps that measure something."""
    return [step for step in steps if type(step.config).publishes == "measurement"]


def asked_of(plan: Plan, names: set[str]) -> set[str]:
    """Measurements that concern these steps alone: what a run up to one of them has to measure on the way."""
    return {step.name for step in measured(plan.steps) if {entry.step for entry in step.inputs} <= {*names, None}}


def overtakes(plan: Plan, step: PlannedStep, left: Sequence[PlannedStep]) -> bool:
    """Whether a measurement that may stop the run stands before this step and has not been made yet."""
    order = plan.names()
    return any(
        order.index(other.name) < order.index(step.name) and any(judge.may_stop(plan, other) for judge in judges())
        for other in measured(left)
        if other is not step
    )


def enforce(plan: Plan) -> None:
    """Raises GateFailed where a gate that must hold does not: what comes after it would be built on sand."""
    failed = [j for j in judgements(plan) if j.held is False and j.on_failure == "stop"]
    if failed:
        raise GateFailed(
            "\n".join(judgement.sentence for judgement in failed),
            remedy="train longer before this point, change what is trained, relax the threshold, or say "
            "`on_failure: warn`; a changed threshold needs no new measurement",
        )
