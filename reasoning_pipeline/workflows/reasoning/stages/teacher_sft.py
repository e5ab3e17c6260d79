"""A control, the paper's "no OPD" arm: hard-label SFT on the teacher's rollouts instead of the bridge.

Loss: mean over completion tokens of the negative log-likelihood of what the teacher wrote (arXiv 2605.12483,
App. E); the same cached rollout set as the warmup, without the teacher's distribution.
Try it: python -m reasoning_pipeline run recipes/smoke/teacher_sft.yaml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from reasoning_pipeline.recipe.fields import Optimization
from reasoning_pipeline.recipe.stage import ModelRef, RolloutsRef, StageConfig
from reasoning_pipeline.recipe.work import Known, Work, work_on_rollouts

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext, StageOutcome


class Config(StageConfig, Optimization):
    stage: Literal["teacher_sft"] = "teacher_sft"
    policy: ModelRef
    """The student."""
    rollouts: RolloutsRef
    """What it learns, as text alone."""
    rollouts_per_step: int = Field(64, ge=1)
    """The global batch of one optimizer step."""

    def work(self, known: Known) -> Work:
        return work_on_rollouts(self, known, teacher=None)


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes the student after the last step."""
    from reasoning_pipeline.training.loop import train

    return train(make_trainer(config, context), context)


def make_trainer(config: Config, context: StageContext) -> Any:
    """The teacher's rollouts in their order, prompt tokens masked, and TRL's trainer on them."""
    from reasoning_pipeline.training.batches import read_rollouts, rollout_lengths, steps_for
    from reasoning_pipeline.training.supervised import sft_trainer

    rollouts = read_rollouts(context.inputs["rollouts"])
    return sft_trainer(
        config,
        context,
        [(row["prompt_ids"], row["completion_ids"]) for row in rollouts],
        lengths=rollout_lengths(rollouts),
        rows_per_step=config.rollouts_per_step,
        steps=steps_for(config, len(rollouts), config.rollouts_per_step),
    )
