"""Stage 2b: the student writes, the frozen teacher comments, token by token.

Loss: mean over completion tokens of KL(student || teacher) at every state the student visited (arXiv 2605.12483,
Eq. 4). Gradients reach the student's distribution, not its choice of states. No reward enters and no label is used,
unless `reward_coefficient` says so: then the prompts' labels count as spent by this step.
What of the divergence is exact depends on where the hardware profile places the teacher, and is written into the
checkpoint's record:

    teacher: trainer   exact over the vocabulary; computed in tiles, so no [tokens, vocabulary] tensor exists
    teacher: server    with `teacher_top_k` K, over the teacher's K best words and one outcome for all others: a true
                       divergence and a lower bound of the exact one, exact with the whole vocabulary; its gradient is
                       its own, so differences among the other words teach nothing. With K = 0, log q - log p of the
                       sampled token: an unbiased, noisy estimate, with the policy gradient of the exact divergence
    teacher: cached    as `trainer`: the student's states cannot be known before it has visited them

With `max_staleness: 1` the states were visited by the student of one optimizer step before; the divergence at them is
today's. It needs no importance ratio, because no gradient flows through the sampling (K = 0 does, and is refused).
Try it: python -m reasoning_pipeline run recipes/smoke/on_policy_distillation.yaml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from reasoning_pipeline.stage import ModelRef, Optimization, SamplingWhileTraining, UsesPrompts, added

if TYPE_CHECKING:
    from reasoning_pipeline.training.context import StageContext, StageOutcome


class Config(UsesPrompts, Optimization, SamplingWhileTraining):
    generates_with: ClassVar[str | None] = "policy"

    stage: Literal["on_policy_distillation"] = "on_policy_distillation"
    policy: ModelRef
    teacher: ModelRef
    rollouts_per_step: int = Field(64, ge=1)
    """Rollouts in the global batch of one optimizer step."""
    rollouts_per_prompt: int = Field(1, ge=1)
    """How many of them share a prompt; must divide `rollouts_per_step`."""
    token_weighting: Literal["uniform", "entropy"] = added("uniform")
    """`entropy` weighs each token's divergence by the entropy of the student's distribution, without gradient (TIP,
    arXiv 2604.14084, weighs tokens by entropy), mean 1 over the tokens of a micro batch."""
    reward_coefficient: float = added(0.0, ge=0)
    """Lambda of: loss = divergence + lambda x the mean over tokens of -A log pi, with A the verified reward of a
    rollout, (reward - mean) / (standard deviation + 1e-4) within its prompt's. Above 0 the labels are spent."""
    replay: bool = added(False)
    """Says that spending the prompts' labels again is meant; only asked of a step with a `reward_coefficient`."""

    @property
    def learns_from_answers(self) -> bool:
        return self.reward_coefficient > 0

    @model_validator(mode="after")
    def _comparable_rollouts(self) -> Self:
        if self.learns_from_answers and self.rollouts_per_prompt < 2:
            raise ValueError("reward_coefficient needs rollouts_per_prompt: 2 or more, so that they can be compared")
        if self.learns_from_answers and self.max_staleness:
            raise ValueError("reward_coefficient needs max_staleness: 0: an older student's rollouts would bias it")
        return self

    @model_validator(mode="after")
    def _whole_prompts(self) -> Self:
        if self.rollouts_per_step % self.rollouts_per_prompt:
            raise ValueError(
                f"rollouts_per_prompt: {self.rollouts_per_prompt} does not divide "
                f"rollouts_per_step ({self.rollouts_per_step})"
            )
        return self


def run(config: Config, context: StageContext) -> StageOutcome:
    from reasoning_pipeline.training.distillation import on_policy_distillation_trainer, train_with_teacher

    return train_with_teacher(on_policy_distillation_trainer(config, context), context)
