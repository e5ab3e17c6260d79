"""A control, the paper's "no OPD" arm: hard-label SFT on the teacher's rollouts instead of the bridge.

Loss: mean over completion tokens of the negative log-likelihood of what the teacher wrote (arXiv 2605.12483,
App. E); the same cached rollout set as the warmup, without the teacher's distribution.
Try it: python -m reasoning_pipeline run recipes/smoke/teacher_sft.yaml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from reasoning_pipeline.recipe.fields import Optimization
from reasoning_pipeline.recipe.stage import ModelRef, RolloutsRef, StageConfig
from reasoning_pipeline.recipe.work import Known, Work, work_on_rollouts

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext, StageOutcome


class Config(StageConfig, Optimization):
    stage: Literal["teacher_sft"] = "teacher_sft"
    policy: ModelRef
    rollouts: RolloutsRef
    rollouts_per_step: int = Field(64, ge=1)

    def work(self, known: Known) -> Work:
        return work_on_rollouts(self, known, teacher=None)


def run(config: Config, context: StageContext) -> StageOutcome:
    from reasoning_pipeline.training.sft import sft_trainer

    return context.train(sft_trainer(config, context))
