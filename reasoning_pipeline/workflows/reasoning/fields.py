"""Settings that more than one file of this workflow reads: those of Stages 1 and 3, and when a warmup may end."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from reasoning_pipeline.recipe.fields import Optimization, SamplingWhileTraining
from reasoning_pipeline.recipe.rewarded import Rewarded
from reasoning_pipeline.recipe.stage import ModelRef, SpendsLabels
from reasoning_pipeline.recipe.work import Known, Work, optimizer_steps


class GroupRelative(SpendsLabels, Rewarded, Optimization, SamplingWhileTraining):
    """What Stages 1 and 3 share: group-relative policy optimisation against a verified reward."""

    generates_with: ClassVar[str | None] = "policy"
    metric_titles: ClassVar[dict[str, str]] = {"kl": "KL(policy ‖ start), estimated, nats per token"}

    policy: ModelRef
    """What is trained; what it starts from."""
    problems_per_step: int = Field(128, ge=1)
    """Groups in the global batch of one optimizer step."""
    group_size: int = Field(8, ge=2)
    """Rollouts of one problem, at least 2 so that they can be compared."""
    clip_ratio: float = Field(0.2, gt=0)
    """The epsilon of the clipped surrogate; with one update per batch the ratio is 1 and it does not act."""
    kl_coefficient: float = Field(0.0, ge=0)
    """Weight of the penalty against the start policy."""
    loss: Literal["dapo", "grpo", "dr_grpo", "bnpo"] = "dapo"
    """`dapo` divides by all sampled tokens of the batch (token mean); see TRL's loss_type."""
    scale_advantages: Literal["group", "batch", "none"] = "group"
    """What a reward less its group's mean is divided by: the standard deviation of the group, of the batch, or
    nothing."""
    overlong_buffer: int = Field(0, ge=0, exclude_if=lambda tokens: tokens == 0)
    """Tokens before max_completion_tokens over which a penalty falls from 0 to -1 and is added to the reward: DAPO's
    soft overlong punishment (arXiv 2503.14476, eq. 13). 0 is off."""
    correct_sampler_mismatch: bool = True
    """Importance-sampling correction for trainer and server not agreeing to the last bit, and for rollouts of an older
    policy where max_staleness is 1 (truncated per token)."""

    def work(self, known: Known) -> Work:
        return Work(
            rows=self.problems_per_step * self.group_size,
            steps=optimizer_steps(self, known.labels, self.problems_per_step),
            prompt_limit=self.max_prompt_tokens,
            completion_limit=self.max_completion_tokens,
            scorings=int(self.kl_coefficient > 0),
            reference=self.kl_coefficient > 0 and self.lora is None,
            generates=True,
            ahead=self.max_staleness > 0,
            trains=True,
            save_every=self.save_every,
            batch="problems_per_step x group_size",
            whole=self.whole(),
            lora=self.lora,
        )

    def whole(self) -> str | None:
        """Why an optimizer step must not be divided, where it must not."""
        if self.loss != "bnpo":
            return None
        return (
            "`loss: bnpo` divides by the tokens of each pass, so that what is learned would depend on the machine; "
            "leave micro_batch out, take one process, or set `loss: dapo` (all tokens of the batch)"
        )

    @model_validator(mode="after")
    def _buffer_fits(self) -> Self:
        if self.overlong_buffer > self.max_completion_tokens:
            raise ValueError("overlong_buffer: at most max_completion_tokens")
        return self

    @model_validator(mode="after")
    def _stale_rollouts_are_corrected(self) -> Self:
        if self.max_staleness and not self.correct_sampler_mismatch:
            raise ValueError("max_staleness: 1 needs correct_sampler_mismatch: older rollouts would bias the gradient")
        return self


class Until(BaseModel):
    """Ends the warmup early: as soon as the student, on rollouts of its own, is this near to the teacher."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reverse_kl: float | None = Field(None, gt=0)
    """KL(student || teacher) at most this much, mean over the student's tokens, in nats."""
    top_k_overlap: float | None = Field(None, ge=0, le=1)
    """Share of the teacher's top-k tokens among the student's, at least this much."""
    top_k: int = Field(16, ge=1)
    """Tokens at each position that `top_k_overlap` looks at."""
    rollouts: int = Field(64, ge=1)
    """Questions of the rollout set that the student answers at each look."""
    after: int = Field(0, ge=0)
    """No look before this many optimizer steps."""
    check_every: int = Field(20, ge=1)
    """Optimizer steps between looks."""
    max_completion_tokens: int | None = Field(None, ge=1)
    """As long as the teacher's longest rollout where it is not given."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.reverse_kl is None and self.top_k_overlap is None:
            raise ValueError("give `reverse_kl`, `top_k_overlap`, or both")
        return self
