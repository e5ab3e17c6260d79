"""Plan -> jobs: one a step, the same step of several seeds as one array, and what each waits for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from reasoning_pipeline.plan.graph import Plan, PlannedStep
from reasoning_pipeline.recipe.stage import StageConfig

_SEED = re.compile(r"@-?\d+")
"""In a plan's step names: `distill@1` is `distill` under the recipe's second seed."""


@dataclass(frozen=True)
class Job:
    """What is submitted at once.

    Example:
        Job(name="distill", steps=(distill, distill@1), parents=("warmup",), matched=True)
    """

    name: str
    steps: tuple[PlannedStep, ...]
    """More than one: an array, one task each."""
    parents: tuple[str, ...]
    """Steps that must have published first and are not complete; of all tasks together."""
    matched: bool = False
    """Task i waits for task i of its one parent, an array of the same length, and for nothing else."""

    @property
    def array(self) -> bool:
        return len(self.steps) > 1


def asks_servers_alone(config: StageConfig) -> bool:
    """Whether a step trains nothing and has its answers written by rollout servers: an evaluation, say."""
    return not type(config).heavy and config.generator is not None and not trains(config)


def trains(config: StageConfig) -> bool:
    return hasattr(config, "learning_rate")


def make_jobs(plan: Plan, steps: list[PlannedStep], queued: set[str]) -> list[Job]:
    """The jobs for these steps, each after those it waits for.

    Args:
        steps: Incomplete steps to submit, in the plan's order.
        queued: Names of steps that are in the queue already; they can be waited for.
    """
    jobs: list[Job] = []
    job_of: dict[str, Job] = {}
    for name, family in _families(steps):
        for job in _jobs(plan, name, family, job_of):
            jobs.append(job)
            job_of |= {step.name: job for step in job.steps}
    submitted = queued | set(job_of)
    for job in jobs:
        missing = [parent for parent in job.parents if parent not in submitted]
        assert not missing, f"{job.name} waits for {missing}, which nobody makes"
    return _ordered(jobs, job_of)


def unfinished_parents(plan: Plan, step: PlannedStep) -> list[str]:
    """Steps that this one reads and that are not complete."""
    names = [entry.step for entry in step.inputs if entry.step is not None]
    return [name for name in dict.fromkeys(names) if not plan.step(name).complete]


def _families(steps: list[PlannedStep]) -> Iterator[tuple[str, list[PlannedStep]]]:
    families: dict[str, list[PlannedStep]] = {}
    for step in steps:
        families.setdefault(_SEED.sub("", step.name), []).append(step)
    yield from families.items()


def _jobs(plan: Plan, name: str, family: list[PlannedStep], job_of: dict[str, Job]) -> Iterator[Job]:
    parents = [unfinished_parents(plan, step) for step in family]
    alone = len(family) == 1 or len({step.config.stage for step in family}) > 1
    if not alone and all(set(own) == set(parents[0]) for own in parents):  # all wait for the same
        yield Job(name, tuple(family), tuple(parents[0]))
        return
    if not alone and all(len(own) == 1 and own[0] in job_of for own in parents):
        upstream = job_of[parents[0][0]]
        if tuple(own[0] for own in parents) == tuple(step.name for step in upstream.steps):
            yield Job(name, tuple(family), tuple(own[0] for own in parents), matched=True)
            return
    for step, own in zip(family, parents, strict=True):
        yield Job(step.name, (step,), tuple(own))


def _ordered(jobs: list[Job], job_of: dict[str, Job]) -> list[Job]:
    """Parents first: a family stands where its first seed stood, which may be above another seed's parents."""
    ordered: list[Job] = []

    def visit(job: Job) -> None:
        if job in ordered:
            return
        for parent in job.parents:
            if parent in job_of:
                visit(job_of[parent])
        ordered.append(job)

    for job in jobs:
        visit(job)
    return ordered
