"""What a recipe says under `gates`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from reasoning_pipeline.recipe.model import Recipe
from reasoning_pipeline.recipe.stage import Pools


class GainGate(BaseModel):
    """C1. Which held-out problems, and how much the teacher must have gained on them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    problems: str
    """A pool that the teacher's lineage does not spend. Its labels measure; nothing learns from them."""
    limit: int | None = Field(None, ge=1)
    """At most this many of the problems."""
    samples: int = Field(4, ge=1)
    """Per problem and model."""
    min_gain: float = Field(0.0, ge=-1, le=1)
    """Least gain of accuracy, as a share of 1."""
    on_failure: Literal["warn", "stop"] = "warn"
    """Say so and go on, or end the run."""


class DistanceGate(BaseModel):
    """C2. How far the student may be from the RL'd teacher where on-policy distillation begins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompts: Pools
    """Pools whose questions the student answers; no label is used."""
    rollouts: int = Field(300, ge=1)
    """How many of those questions, one rollout each."""
    top_k: int = Field(16, ge=1)
    """Tokens at each position whose overlap is measured."""
    max_reverse_kl: float = Field(0.1, gt=0)
    """Largest KL(student || teacher), mean over the student's tokens, in nats. The theory names no number: this one is
    a convention of ours, between what the demo's students have before and after their warmup."""
    min_overlap: float | None = Field(None, ge=0, le=1)
    """Least share of the teacher's top-k tokens among the student's."""
    on_failure: Literal["warn", "stop", "extend"] = "warn"
    """Say so and go on, end the run, or train the warmup for longer first."""
    extend_steps: int | None = Field(None, ge=1)
    """`extend`: the warmup may go on for this many optimizer steps beyond its own."""
    check_every: int = Field(20, ge=1)
    """`extend`: optimizer steps between two looks."""

    _one_or_many = field_validator("prompts", mode="before")(lambda v: (v,) if isinstance(v, str) else v)

    @model_validator(mode="after")
    def _budget(self) -> Self:
        if (self.on_failure == "extend") != (self.extend_steps is not None):
            raise ValueError("`on_failure: extend` and `extend_steps` go together")
        return self


class GatesConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    c1: GainGate | None = None
    """Has sparse reward made the teacher better?"""
    c2: DistanceGate | None = None
    """Is the student near enough to the teacher to write what the teacher can comment?"""


def gates_of(recipe: Recipe) -> GatesConfig | None:
    """What the recipe says under `gates`."""
    found: GatesConfig | None = recipe.sections.get("gates")
    return found
