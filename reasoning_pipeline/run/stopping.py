"""How long a step may take to stop, and what is true of it afterwards."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from reasoning_pipeline.errors import PipelineError, Stopped
from reasoning_pipeline.estimates.steps import seconds_per_optimizer_step
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.plan.graph import Plan, PlannedStep
from reasoning_pipeline.run.metrics import longest_optimizer_step


def grace_s(plan: Plan, step: PlannedStep, profile: HardwareProfile, work: Path) -> float:
    """Seconds from asking a step to stop until it is killed: the optimizer step under way may end, which takes as long
    as the longest one lately (as estimated, before one was measured), and then the profile's time to save."""
    longest = longest_optimizer_step(work)
    if longest is None:
        with suppress(PipelineError):  # an estimate is no reason not to stop
            longest = seconds_per_optimizer_step(plan, step, profile)
    return profile.stop_grace_s + (longest or 0.0)


def last_resume_point(work: Path) -> int | None:
    """Optimizer steps taken at the newest one that is whole."""
    marked = work.glob("checkpoints/checkpoint-*/complete")
    return max((int(marker.parent.name.rpartition("-")[2]) for marker in marked), default=None)


def stopped(step: PlannedStep, work: Path, remedy: str, killed_after_s: float | None = None) -> Stopped:
    """What a person is told of a step that was asked to stop.

    Example:
        grpo was killed after 61 s, before it had stopped; last resume point: step 40
    """
    how = "stopped" if killed_after_s is None else f"killed after {killed_after_s:.0f} s, before it had stopped"
    if type(step.config).publishes != "checkpoint":
        return Stopped(f"{step.name} was {how}; what it had stored is kept", remedy=remedy)
    point = last_resume_point(work)
    where = f"step {point}" if point is not None else "none, it will begin anew"
    return Stopped(f"{step.name} was {how}; last resume point: {where}", remedy=remedy)
