"""What a step does, as its config says, with the shapes of the models that it does it with."""

from __future__ import annotations

from dataclasses import dataclass

from reasoning_pipeline.data.suites.spec import suite_rows
from reasoning_pipeline.estimates.shapes import ModelShape, shape_of_input
from reasoning_pipeline.plan.graph import Plan, PlannedStep
from reasoning_pipeline.recipe.work import Known, Work


@dataclass(frozen=True, kw_only=True)
class Task:
    """A step's work, with the shapes of its models."""

    work: Work
    policy: ModelShape
    teacher: ModelShape | None


def task_of(plan: Plan, step: PlannedStep) -> Task | None:
    """None for a step of which its config says nothing, or whose model is not known here."""
    work = work_of(plan, step)
    if work is None or work.policy not in {entry.field for entry in step.inputs}:
        return None  # it only says how many rows there will be, for the steps behind it
    policy = shape_of_input(plan, step, work.policy)
    if policy is None:
        return None
    teacher = shape_of_input(plan, step, work.teacher) if work.teacher is not None else None
    return Task(work=work, policy=policy, teacher=teacher)


def work_of(plan: Plan, step: PlannedStep) -> Work | None:
    """What the step's own config says of its work, given what the plan knows."""

    def made_by(field: str) -> Work | None:
        source = step.input(field).step
        return work_of(plan, plan.step(source)) if source is not None else None

    return step.config.work(
        Known(
            labels=sum(spend.labels for spend in step.spends),
            prompts=step.prompts,
            measured=sum(asked.measured for asked in step.asks),
            made_by=made_by,
            suite_rows=lambda suite: suite_rows(suite, None),
        )
    )
