"""How a run is asked to stop, how long a step may take to, and what is true of it afterwards."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reasoning_pipeline.errors import Stopped
from reasoning_pipeline.estimates.steps import seconds_per_optimizer_step
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.plan.graph import Plan, PlannedStep
from reasoning_pipeline.run.metrics import longest_optimizer_step

SAME_REQUEST_SECONDS = 1.0
"""A second Ctrl-C within this time is the first one, passed on twice."""


@contextmanager
def terminable(killing: threading.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM stop what runs, which saves first; Ctrl-C once more ends it now."""
    asked: list[float] = []

    def interrupt(number: int, frame: object) -> None:
        # A terminal and a wrapper (make, a container's init) may each pass a Ctrl-C on, and Slurm its SIGTERM.
        now = time.monotonic()
        if not asked or killing.is_set():
            asked.append(now)
            raise KeyboardInterrupt
        if number == signal.SIGINT and now - asked[0] > SAME_REQUEST_SECONDS:
            killing.set()

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped("stopped", remedy="run the same command again to continue") from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def grace_s(plan: Plan, step: PlannedStep, profile: HardwareProfile, work: Path) -> float:
    """Seconds from asking a step to stop until it is killed: the optimizer step under way may end, which may take half
    as long again as the longest lately (as estimated, before one was measured), and then it has the profile's time."""
    longest = None
    with suppress(Exception):  # an estimate is no reason not to stop
        longest = longest_optimizer_step(work)
        if longest is None:
            longest = seconds_per_optimizer_step(plan, step, profile)
    return profile.stop_grace_s + 1.5 * (longest or 0.0)


def last_resume_point(work: Path) -> int | None:
    """Optimizer steps taken at the newest one that is whole."""
    marked = work.glob("checkpoints/checkpoint-*/complete")
    return max((int(marker.parent.name.rpartition("-")[2]) for marker in marked), default=None)


def kept(work: Path, publishes: str) -> int:
    """How much of a step its next attempt finds again: optimizer steps at the last resume point of a checkpoint's; of
    others bytes in the files that they fill row by row."""
    if publishes == "checkpoint":
        return last_resume_point(work) or 0
    return sum(path.stat().st_size for path in work.rglob("*.jsonl") if path.name != "metrics.jsonl")


def stopped(plan: Plan, step: PlannedStep, work: Path, how: str, remedy: str) -> Stopped:
    """What a person is told of a step that was asked to stop.

    Example:
        grpo was killed after 61 s, before it had stopped; last resume point: step 40
    """
    if plan.registry.find(step.config.stage, step.fingerprint) is not None:
        return Stopped(f"stopped; {step.name} had come to its end and is published", remedy=remedy)
    if type(step.config).publishes != "checkpoint":
        return Stopped(f"{step.name} was {how}; what it had stored is kept", remedy=remedy)
    point = last_resume_point(work)
    where = f"step {point}" if point is not None else "none, it will begin anew"
    return Stopped(f"{step.name} was {how}; last resume point: {where}", remedy=remedy)
