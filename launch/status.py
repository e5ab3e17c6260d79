"""`python -m launch status`: the registry and the queue together, one row a step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reasoning_pipeline.base.logs import tail
from reasoning_pipeline.base.text import clock
from reasoning_pipeline.plan.graph import Plan, PlannedStep
from reasoning_pipeline.run.progress import describe, read_progress

from . import queue
from .jobs import unfinished_parents
from .submitted import Submission, Submitted

LOG_LINES_SHOWN = 6
_ENDINGS = {"TIMEOUT": "ran into its time limit", "CANCELLED": "cancelled", "NODE_FAIL": "its node was lost",
            "OUT_OF_MEMORY": "out of memory", "PREEMPTED": "preempted", "DEADLINE": "past its deadline"}  # fmt: skip


@dataclass(frozen=True)
class StepState:
    """One row.

    Example:
        StepState(step="distill", state="running", detail="step 12/60 · KL 0.0312", job="1235", elapsed="12:34",
                  left="0:48")
    """

    step: str
    state: str
    """complete, running, queued, waiting, failed, cancelled, not submitted."""
    detail: str = ""
    job: str = ""
    elapsed: str = ""
    left: str = ""
    log: str = ""
    """The end of its log, for a failed step."""


def states(plan: Plan, submitted: Submitted) -> list[StepState]:
    """Where every step of the plan stands."""
    alive = queue.mine() if submitted.submissions else {}
    over = [
        entry.job
        for step in plan.steps
        if not step.complete and (entry := submitted.newest(step.output)) is not None and entry.job not in alive
    ]
    gone = queue.ended(over)
    return [_state(plan, submitted, step, alive, gone) for step in plan.steps]


def _state(
    plan: Plan,
    submitted: Submitted,
    step: PlannedStep,
    alive: dict[str, queue.Queued],
    gone: dict[str, queue.Queued],
) -> StepState:
    if step.complete:
        return StepState(step.name, "complete")
    submission = submitted.newest(step.output)
    if submission is None:
        return StepState(step.name, "not submitted")
    queued = alive.get(submission.job)
    if queued is None:
        return _ended(submitted.folder, step, submission, gone.get(submission.job))
    if queued.state == "PENDING":
        parents = unfinished_parents(plan, step)
        if queued.reason.startswith("Dependency") and parents:
            return StepState(step.name, "waiting", f"for {', '.join(parents)}", submission.job)
        return StepState(step.name, "queued", queued.reason, submission.job)
    progress = read_progress(plan.registry.root / "work" / step.output)
    seconds = progress.pop("seconds_left", None)
    left = clock(seconds) if seconds is not None else ""
    return StepState(step.name, "running", describe(progress), submission.job, queued.elapsed, left)


def _ended(folder: Path, step: PlannedStep, submission: Submission, end: queue.Queued | None) -> StepState:
    """A job that is neither queued nor running and whose step is not complete."""
    how = end.state if end is not None else ""
    state = "cancelled" if how in ("CANCELLED", "PREEMPTED") else "failed"
    detail = _ENDINGS.get(how, f"exit {end.exit_code}" if end is not None and end.exit_code else "ended")
    job_log, step_log = folder / submission.log, folder / "logs" / f"{step.name}.log"
    log = ""
    if state == "failed":
        if job_log.is_file():
            log = tail(job_log, LOG_LINES_SHOWN)
        else:
            detail += "; its node could not write its log: does it see the runs' folder?"
    elapsed = end.elapsed if end is not None else ""
    if log and step_log.is_file():
        log += f"\n    the step's own log: {step_log}"
    return StepState(step.name, state, detail, submission.job, elapsed, log=log)
