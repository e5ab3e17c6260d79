"""`python -m launch slurm`: what is not complete and not queued goes into the queue, along the plan's edges."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reasoning_pipeline.base.locks import run_lock
from reasoning_pipeline.beside import LAUNCH
from reasoning_pipeline.errors import PipelineError, RecipeError
from reasoning_pipeline.estimates.steps import check_fit, estimate_plan
from reasoning_pipeline.estimates.tasks import work_of
from reasoning_pipeline.hardware.cluster import JobRequest
from reasoning_pipeline.hardware.launcher import accelerate_file
from reasoning_pipeline.hardware.profile import HardwareProfile, accumulation
from reasoning_pipeline.plan.graph import Plan, PlannedStep
from reasoning_pipeline.plan.selection import selected
from reasoning_pipeline.registry.record import now

from . import queue
from .jobs import Job, asks_servers_alone, make_jobs, trains, unfinished_parents
from .script import Target, log_name, render
from .submitted import Submission, Submitted


@dataclass(frozen=True)
class Prepared:
    """A job with its script, before it is submitted."""

    job: Job
    script: str
    request: JobRequest


def prepare(
    plan: Plan, profile: HardwareProfile, target: Target, *, only: str | None, until: str | None, queued: set[str]
) -> list[Prepared]:
    """The jobs that a submission consists of, each after those it waits for. Raises RecipeError with all problems."""
    if profile.slurm is None:
        raise RecipeError(
            profile.name, ["slurm: missing; a profile for a cluster says here what its jobs ask for (docs/cluster.md)"]
        )
    steps = [step for step in selected(plan, only, until) if not step.complete and step.name not in queued]
    _check(plan, profile, steps)
    for step in steps:
        others = {other.name for other in steps} | queued
        missing = [parent for parent in unfinished_parents(plan, step) if parent not in others]
        if missing:
            raise RecipeError(step.name, [f"needs {', '.join(missing)}, which is neither complete nor queued"])
    hours = {e.step: e.hours for e in estimate_plan(plan, profile)}
    made = []
    for job in make_jobs(plan, steps, queued):
        asked = request_of(job, profile, max((hours.get(step.name) or 0.0 for step in job.steps), default=0.0))
        made.append(Prepared(job, render(job, profile, target, asked), asked))
    return made


def request_of(job: Job, profile: HardwareProfile, hours: float) -> JobRequest:
    """What a job asks for. One that trains nothing asks for three times as long as is estimated, and one that only asks
    servers for their devices alone; what `slurm.by_stage` says of it stands.
    """
    assert profile.slurm is not None
    config = job.steps[0].config
    asked, own = profile.slurm.request(config.stage), profile.slurm.by_stage.get(config.stage, {})
    changes: dict[str, object] = {}
    servers = profile.of_servers_alone() if asks_servers_alone(config) else None
    if servers is not None and "gpus_per_node" not in own and asked.gpus_per_node:
        changes["gpus_per_node"] = min(asked.gpus_per_node, servers.server_devices())
    if not trains(config) and "time_limit" not in own and hours and (enough := math.ceil(3 * hours)) < asked.hours:
        changes["time_limit"] = f"{enough:02}:00:00"
    return asked.model_copy(update=changes)


def _check(plan: Plan, profile: HardwareProfile, steps: list[PlannedStep]) -> None:
    """What can be known to be wrong before anything is queued: a launcher that does not exist, batches that do not
    divide, models that do not fit. Raises RecipeError listing every step that this profile cannot run."""
    problems = []
    if profile.accelerate_config is not None:
        accelerate_file(profile)
    for step in steps:
        work = work_of(plan, step)
        if work is None or not work.trains or not type(step.config).heavy:  # what is not heavy trains in one process
            continue
        try:
            accumulation(profile, work.rows, what=step.name)
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError(f"{plan.recipe.path} on {profile.name}", problems)
    check_fit(plan, profile, steps)


def submit(
    plan: Plan, profile: HardwareProfile, target: Target, *, arms: Sequence[str], only: str | None, until: str | None
) -> list[Submission]:
    """Submit what is neither complete nor queued; returns what was.

    Raises:
        QueueError: sbatch refused, with its message; what was submitted before is recorded.
    """
    _check_secrets(profile)
    if profile.slurm is not None and (unsaid := profile.slurm.unsaid()):
        raise RecipeError(
            profile.name,
            [
                f"slurm.{name}: {getattr(profile.slurm, name)} stands for your cluster's; give --{name}, or write it "
                "into a copy of the profile"
                for name in unsaid
            ],
        )
    scripts = target.folder / "slurm"
    (target.folder / "logs" / "slurm").mkdir(parents=True, exist_ok=True)
    scripts.mkdir(exist_ok=True)
    with run_lock(scripts):
        submitted = Submitted.read(target.folder)
        numbers = _in_queue(plan, submitted)
        prepared = prepare(plan, profile, target, only=only, until=until, queued=set(numbers))
        if profile.slurm is not None:
            for name in {entry.request.partition for entry in prepared}:
                queue.check_partition(name)
        submitted.overrides, submitted.arms, submitted.seeds = list(target.overrides), list(arms), list(target.seeds)
        done: list[Submission] = []
        for entry in prepared:
            done += _submit(entry, profile, target, submitted, numbers, plan)
    return done


def dependency(job: Job, numbers: Mapping[str, str]) -> str | None:
    """sbatch's words for what a job waits for; `numbers` gives the parents' job numbers, or what stands for them."""
    if not job.parents:
        return None
    if job.matched:
        return f"aftercorr:{numbers[job.parents[0]].split('_')[0]}"
    return "afterok:" + ":".join(dict.fromkeys(numbers[parent] for parent in job.parents))


def _submit(
    entry: Prepared, profile: HardwareProfile, target: Target, submitted: Submitted, numbers: dict[str, str], plan: Plan
) -> list[Submission]:
    job = entry.job
    path = target.script(job)
    path.write_text(entry.script, encoding="utf-8")
    try:
        number = queue.submit(path, dependency(job, numbers))
    except queue.QueueError as error:
        before = (
            f"; {len(numbers)} other steps are queued (`{LAUNCH} cancel {plan.named}` ends them)" if numbers else ""
        )
        raise queue.QueueError(
            f"step {job.name}: {error.message}", remedy=f"mend the profile's slurm block and run again{before}"
        ) from error
    made = []
    for task, step in enumerate(job.steps):
        numbers[step.name] = f"{number}_{task}" if job.array else number
        made.append(
            Submission(
                job=numbers[step.name],
                step=step.name,
                output=step.output,
                script=str(path.relative_to(target.folder)),
                log=log_name(job, numbers[step.name]),
                after=tuple(numbers[parent] for parent in unfinished_parents(plan, step)),
                profile=profile.name,
                submitted=now(),
            )
        )
    submitted.add(*made)
    return made


def _in_queue(plan: Plan, submitted: Submitted) -> dict[str, str]:
    """Step -> job number of those that are pending or running."""
    if not submitted.submissions:
        return {}
    alive = queue.mine()
    found: dict[str, str] = {}
    for step in plan.steps:
        newest = submitted.newest(step.output)
        if newest is not None and newest.job in alive and alive[newest.job].alive:
            found[step.name] = newest.job
    return found


def _check_secrets(profile: HardwareProfile) -> None:
    missing = [name for name in profile.setup.secrets if not os.environ.get(name)]
    if missing:
        raise PipelineError(
            f"the profile {profile.name!r} needs {', '.join(missing)} in the environment",
            remedy=f"export {missing[0]}=… in this shell and submit again; it is written nowhere",
        )


def make_target(plan: Plan, hardware: Path, overrides: Sequence[str], seeds: Sequence[int]) -> Target:
    """Everything absolute: a job starts elsewhere."""
    root = plan.root.resolve()
    return Target(
        recipe=Path(plan.recipe.path).resolve(),
        hardware=hardware.resolve(),
        root=root,
        store=plan.registry.root.resolve(),
        overrides=tuple(overrides),
        seeds=tuple(seeds),
        folder=root / plan.recipe.name,
    )
