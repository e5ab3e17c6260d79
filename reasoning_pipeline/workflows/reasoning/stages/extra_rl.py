"""Stage 3, optional: GRPO on the bridged student with labels not spent before (or, as a control, a declared replay).

The same learner as Stage 1; what differs is the start (a distilled student that already succeeds often) and the pool,
which the plan refuses if the lineage has spent it, unless the step says `replay: true`.
Try it: python -m reasoning_pipeline run recipes/smoke/extra_rl.yaml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from reasoning_pipeline.workflows.reasoning.fields import GroupRelative

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext, StageOutcome


class Config(GroupRelative):
    title: ClassVar[str] = "Stage 3"
    followed: ClassVar[tuple[str, ...]] = ("completion_tokens",)

    stage: Literal["extra_rl"] = "extra_rl"


def run(config: Config, context: StageContext) -> StageOutcome:
    from reasoning_pipeline.training.loop import train
    from reasoning_pipeline.workflows.reasoning.grpo import grpo_trainer

    return train(grpo_trainer(config, context), context)
