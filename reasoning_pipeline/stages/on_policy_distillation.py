"""Stage 2b: the student writes, the frozen teacher comments, token by token.

Loss: mean over completion tokens of KL(student || teacher), exact over the vocabulary, at every state the student
visited (arXiv 2605.12483, Eq. 4); computed in tiles, so no [tokens, vocabulary] tensor exists. Gradients reach the
student's distribution, not its choice of states. No reward enters and no label is used.
Try it: python -m reasoning_pipeline run recipes/smoke/on_policy_distillation.yaml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from reasoning_pipeline.stage import ModelRef, Optimization, Sampling, UsesPrompts

if TYPE_CHECKING:
    from reasoning_pipeline.training.context import StageContext, StageOutcome


class Config(UsesPrompts, Optimization, Sampling):
    generates_with: ClassVar[str | None] = "policy"

    stage: Literal["on_policy_distillation"] = "on_policy_distillation"
    policy: ModelRef
    teacher: ModelRef
    rollouts_per_step: int = Field(64, ge=1)
    """Rollouts in the global batch of one optimizer step."""
    rollouts_per_prompt: int = Field(1, ge=1)
    """How many of them share a prompt; must divide `rollouts_per_step`."""

    @model_validator(mode="after")
    def _whole_prompts(self) -> Self:
        if self.rollouts_per_step % self.rollouts_per_prompt:
            raise ValueError(
                f"rollouts_per_prompt: {self.rollouts_per_prompt} does not divide "
                f"rollouts_per_step ({self.rollouts_per_step})"
            )
        return self


def run(config: Config, context: StageContext) -> StageOutcome:
    from reasoning_pipeline.training.trl_bridge import on_policy_distillation_trainer

    return context.train(on_policy_distillation_trainer(config, context))
