"""What runs inside a job: one step of the plan, and then the question whether to queue again.

A job that saved and left puts itself back into the queue, unless it has done so too often, or made no progress in two
runs in a row: then its time limit is too short for it to come from one resume point to the next.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.errors import PipelineError, Stopped
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.plan.selection import selected
from reasoning_pipeline.recipe.reading import Recipe
from reasoning_pipeline.run.runner import Runner
from reasoning_pipeline.training.resume import COMPLETE, step_of

from .jobs import asks_servers_alone
from .script import REQUEUE_STATUS

STARTS = "starts.json"
"""In a step's work folder: how far it was each time a job began with it. Goes when the step is published."""

RUNS_WITHOUT_PROGRESS = 2

Mark = list[int]
"""How far a step is: [optimizer step of its newest resume point, bytes it has written of what it will publish]."""


def run_job(
    recipe: Recipe,
    profile: HardwareProfile,
    root: Path,
    *,
    step: str,
    expect: str,
    seeds: Sequence[int] = (),
    store: Path | None = None,
) -> int:
    """Run one step; the exit status that the job's script acts on.

    Args:
        expect: The step's output when it was submitted.

    Raises:
        PipelineError: The recipe has changed since, or the step failed.
    """
    (planned,) = selected(make_plan(recipe, root, seeds, store=store), step, None)
    if planned.output != expect:
        raise PipelineError(
            f"step {step} was submitted as {expect} and is {planned.output} now: recipe or data has changed since",
            remedy="submit again; what was made of the earlier one is kept",
        )
    if asks_servers_alone(planned.config):
        profile = profile.of_servers_alone() or profile
    work = (store or root) / "work" / planned.output
    if not planned.complete:
        note_start(work)
    try:
        Runner(recipe, profile, root, Console(soft_wrap=True), store=store).run(only=step, seeds=seeds)
    except Stopped as stopped:
        print(f"{stopped.message}", flush=True)
        return after_stop(work, profile)
    return 0


def progress_mark(work: Path) -> Mark:
    """How far the step in this work folder is."""
    points = [step_of(marker.parent) for marker in work.glob(f"checkpoints/checkpoint-*/{COMPLETE}")]
    # Stages without resume points of their own go on from the rows that they have written (rollouts, samples).
    rows = sum(path.stat().st_size for path in (*work.glob("rollouts.jsonl"), *work.glob("output/**/*.jsonl")))
    return [max(points, default=0), rows]


def note_start(work: Path) -> None:
    """Remember how far the step is as a job begins with it."""
    work.mkdir(parents=True, exist_ok=True)
    write_json(work / STARTS, [*_starts(work), progress_mark(work)])


def after_stop(work: Path, profile: HardwareProfile) -> int:
    """Whether to queue again: REQUEUE_STATUS, or Stopped's status with the reason why not on stderr."""
    assert profile.slurm is not None
    restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    recent = [*_starts(work), progress_mark(work)][-RUNS_WITHOUT_PROGRESS - 1 :]
    if len(recent) > RUNS_WITHOUT_PROGRESS and all(mark == recent[0] for mark in recent):
        reason = (
            f"no progress in {RUNS_WITHOUT_PROGRESS} runs in a row (still at optimizer step {recent[0][0]}); "
            "raise slurm.time_limit, or lower the step's save_every"
        )
    elif restarts >= profile.slurm.max_requeues:
        reason = f"queued again {restarts} times already, which is slurm.max_requeues"
    else:
        return REQUEUE_STATUS
    print(f"error: not queued again: {reason}\n  → then submit again: the resume point is kept", file=sys.stderr)
    return Stopped.exit_status


def _starts(work: Path) -> list[Mark]:
    try:
        return list(json.loads((work / STARTS).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return []
