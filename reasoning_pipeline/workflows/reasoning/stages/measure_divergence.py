"""C2, measured: how near a student is to the RL'd teacher, on rollouts that the student writes.

Mean over completion tokens of KL(student || teacher), of KL(teacher || student), both exact over the vocabulary and in
nats, and of the share of the teacher's top-k tokens that are among the student's; 95 % intervals with prompts drawn.
No label is used and nothing is trained. A recipe asks for it under `gates.c2` (docs/gates_and_resume.md), which puts
such steps where the bridge begins and behind each of its stages.
Try it: python -m reasoning_pipeline run recipes/smoke/measure_divergence.yaml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from reasoning_pipeline.recipe.fields import Sampling
from reasoning_pipeline.recipe.stage import ModelRef, UsesPrompts

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext, StageOutcome


class Config(UsesPrompts, Sampling):
    publishes: ClassVar[str] = "measurement"
    generates_with: ClassVar[str | None] = "policy"
    heavy: ClassVar[bool] = False

    stage: Literal["measure_divergence"] = "measure_divergence"
    policy: ModelRef
    teacher: ModelRef
    rollouts: int = Field(300, ge=1)
    """At most this many questions of the pools, by stable hash; one rollout each."""
    top_k: int = Field(16, ge=1)


def run(config: Config, context: StageContext) -> StageOutcome:
    from reasoning_pipeline.training.measuring import measure_divergence

    return measure_divergence(config, context)
