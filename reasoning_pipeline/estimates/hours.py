"""How long one step takes on a profile: optimizer steps, and what stands around them."""

from __future__ import annotations

from dataclasses import dataclass

from reasoning_pipeline.estimates.layout import Layout
from reasoning_pipeline.estimates.lengths import Lengths
from reasoning_pipeline.estimates.memory import ServerMemory
from reasoning_pipeline.estimates.shapes import ModelShape
from reasoning_pipeline.recipe.work import Work

START_S = 60.0
"""A step's program: imports, launch, models read."""
SERVER_START_S = 120.0
"""A server for an architecture that none has served before: weights read, graphs captured."""
PUSH_S, PUSH_GBS = 0.5, 3.5
"""Weights to every server after each optimizer step, and the proof. All of these are assumed, not measured on GPUs."""
DISK_GBS = 1.0
"""Reading and writing models and resume points, by one process."""


@dataclass(frozen=True, kw_only=True)
class OptimizerStep:
    """Seconds of one, apart."""

    generating: float = 0.0
    training: float = 0.0
    pushing: float = 0.0
    ahead: bool = False
    """Generating and training go on at the same time."""

    @property
    def seconds(self) -> float:
        both = max(self.generating, self.training) if self.ahead else self.generating + self.training
        return both + self.pushing

    @property
    def bound_by(self) -> str:
        return "generation" if self.generating > self.training else "training"


def optimizer_step(
    work: Work,
    policy: ModelShape,
    flops: float,
    lengths: Lengths,
    prompt: float,
    server: ServerMemory | None,
    layout: Layout,
) -> OptimizerStep | None:
    """Of a step that trains; of one that only writes or compares, all its work. None where speeds are not known.

    Args:
        flops: Of all trainers and all optimizer steps.
    """
    profile = layout.profile
    if profile.peak_tflops is None or (work.generates and profile.memory_bandwidth_gbs is None):
        return None
    speed = profile.processes * profile.peak_tflops * 1e12 * profile.utilisation
    training = flops / max(work.steps, 1) / speed
    if work.trains and work.rows:
        training *= 1 + lengths.imbalance(work.rows, profile.processes, prompt)
    generating = pushing = 0.0
    if work.generates and server is not None and work.rows:
        generating = layout.decoder(policy, server).seconds(work.rows, lengths, prompt)
        pushing = PUSH_S + layout.placement.precision_bytes * policy.parameters / (PUSH_GBS * 1e9)
    return OptimizerStep(
        generating=generating, training=training, pushing=pushing, ahead=work.ahead and not profile.server.sleep
    )


def seconds_around(work: Work, policy: ModelShape, *, starts_server: bool) -> float:
    """Of a step beside its optimizer steps: starting, resume points, and the model that is published."""
    seconds = START_S + (SERVER_START_S if starts_server else 0.0)
    if work.trains:
        written = 4.0 * policy.parameters  # float32
        if work.save_every:
            written += 12 * policy.parameters * (work.steps // work.save_every)
        seconds += written / (DISK_GBS * 1e9)
    return seconds
