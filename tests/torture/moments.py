"""When something is killed: at a time, in the middle of a write, or by a disk that is full."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Moment:
    """One interruption.

    Example:
        Moment(what="step, publishing", kind="file", role="step", path="record\\.json|/registry/", count=3)
        Moment(what="runner, after 2.4 s", kind="clock", role="runner", seconds=2.4)
    """

    what: str
    kind: Literal["file", "clock", "disk"]
    role: Literal["runner", "step", "server"]
    path: str = ""
    count: int = 0
    seconds: float = 0.0
    """After which it comes; for a write that never comes, after which the runner is killed instead."""
    free_kib: int = 0
    """`disk`: how much is left when it fills."""
    at_once: bool = False
    """Whether the next run starts without waiting for what the killed one left behind."""

    def environment(self) -> dict[str, str]:
        if self.kind != "file":
            return {}
        return {"TORTURE_MOMENT": json.dumps({"role": self.role, "path": self.path, "count": self.count})}


IN_FILES = (
    # (what, role, path, most events)
    ("step, saving a resume point", "step", r"/checkpoints/checkpoint-\d+", 24),
    ("step, marking a resume point", "step", r"/checkpoint-\d+/complete$", 3),
    ("step, removing an old resume point", "step", r"/checkpoint-[24]\b", 30),
    ("step, writing its output", "step", r"/work/[^/]+/output", 12),
    ("step, publishing", "step", r"record\.json|/registry", 6),
    ("step, writing metrics or progress", "step", r"metrics|progress\.json", 12),
    ("step, storing samples or rollouts", "step", r"samples\.jsonl|rollouts\.jsonl|settings\.json|summary\.json", 8),
    ("runner, planning and locking", "runner", r"plan\.json|running\.json|\.lock", 8),
    ("runner, preparing a step", "runner", r"context\.json|problems\.jsonl|/logs/", 8),
    ("runner, removing a step's work", "runner", r"/work/[^/]+(/|$)", 30),
    ("runner, writing the report", "runner", r"report", 3),
)


def moments(seed: int, *, longest_s: float, servers: bool, disk: bool) -> random.Random:
    """The generator that `next_moment` draws from."""
    return random.Random(f"torture/{seed}/{longest_s}/{servers}/{disk}")


def next_moment(rng: random.Random, *, longest_s: float, servers: bool, disk: bool) -> Moment:
    """Half of them in the middle of a write, most others by the clock."""
    at_once = rng.random() < 0.5
    draw = rng.random()
    if draw < 0.5:
        what, role, path, most = rng.choice(IN_FILES)
        count = rng.randint(1, most)
        latest = rng.uniform(longest_s, 3 * longest_s)
        return Moment(f"{what} ({count})", "file", role, path=path, count=count, seconds=latest, at_once=at_once)  # type: ignore[arg-type]
    if disk and draw < 0.6:
        free = rng.choice((0, 16, 64, 160, 400))
        seconds = rng.uniform(0.5, longest_s)
        return Moment(
            f"disk full but for {free} KiB, after {seconds:.1f} s", "disk", "runner", seconds=seconds, free_kib=free
        )
    role = rng.choice(("runner", "step", "server") if servers else ("runner", "step"))
    seconds = rng.uniform(0.2, longest_s)
    return Moment(f"{role}, after {seconds:.1f} s", "clock", role, seconds=seconds, at_once=at_once)  # type: ignore[arg-type]
