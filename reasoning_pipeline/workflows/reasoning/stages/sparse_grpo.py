"""Stage 1: GRPO with a verified 0/1 reward, first on the teacher; on the student it is the direct-GRPO baseline.

Each problem gets a group of rollouts; a rollout's advantage is its reward against its group's mean and spread. Groups
whose rewards are all equal teach nothing and are counted (`groups_all_right`, `groups_all_wrong`; the share of their
rollouts is `frac_reward_zero_std`).
Try it: python -m reasoning_pipeline run recipes/smoke/sparse_grpo.yaml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from reasoning_pipeline.workflows.reasoning.fields import GroupRelative

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext, StageOutcome


class Config(GroupRelative):
    title: ClassVar[str] = "Stage 1"
    followed: ClassVar[tuple[str, ...]] = ("completion_tokens",)

    stage: Literal["sparse_grpo"] = "sparse_grpo"


def run(config: Config, context: StageContext) -> StageOutcome:
    from reasoning_pipeline.training.loop import train
    from reasoning_pipeline.workflows.reasoning.grpo import grpo_trainer

    return train(grpo_trainer(config, context), context)
