"""Stage 2a: the student learns the RL'd teacher's rollouts against the teacher's whole next-token distribution.

Loss: mean over completion tokens of KL(teacher || student), exact over the vocabulary, on rollouts that the teacher
wrote once and that are published as an artifact (arXiv 2605.12483, Eq. 5). The teacher's distribution is recomputed
from the cached token ids, tile by tile: no [tokens, vocabulary] tensor exists. No label is used.
Try it: python -m reasoning_pipeline run recipes/smoke/forward_kl_warmup.yaml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from reasoning_pipeline.stage import ModelRef, Optimization, RolloutsRef, StageConfig

if TYPE_CHECKING:
    from reasoning_pipeline.training.context import StageContext, StageOutcome


class Config(StageConfig, Optimization):
    stage: Literal["forward_kl_warmup"] = "forward_kl_warmup"
    policy: ModelRef
    teacher: ModelRef
    rollouts: RolloutsRef
    """A rollout set that this teacher wrote; another writer is refused."""
    rollouts_per_step: int = Field(64, ge=1)
    """Rollouts in the global batch of one optimizer step."""
    temperature: float = Field(1.0, gt=0)
    """Softmax temperature of both distributions inside the divergence."""


def run(config: Config, context: StageContext) -> StageOutcome:
    from reasoning_pipeline.training.trl_bridge import cached_distillation_trainer

    return context.train(cached_distillation_trainer(config, context))
