"""Stage 2a: the student learns the RL'd teacher's rollouts against the teacher's whole next-token distribution.

Loss: mean over completion tokens of KL(teacher || student) on rollouts that the teacher wrote once and that are
published as an artifact (arXiv 2605.12483, Eq. 5). No label is used. What of the divergence is exact depends on where
the hardware profile places the teacher, and is written into the checkpoint's record:

    teacher: trainer   exact over the vocabulary; recomputed from the cached token ids, tile by tile, so that no
                       [tokens, vocabulary] tensor exists
    teacher: server    over its `teacher_top_k` best words and one outcome for all others: a lower bound, exact with
                       the whole vocabulary. 0: log p - log q of the written token alone, an unbiased estimate
    teacher: cached    the same from the words stored with the rollouts (`top_k` of the teacher_rollouts step); the
                       teacher is never loaded

Try it: python -m reasoning_pipeline run recipes/smoke/forward_kl_warmup.yaml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from reasoning_pipeline.recipe.fields import Optimization
from reasoning_pipeline.recipe.stage import ModelRef, RolloutsRef, StageConfig
from reasoning_pipeline.recipe.work import Known, Work, work_on_rollouts

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext, StageOutcome


class Until(BaseModel):
    """Ends the warmup early: as soon as the student, on rollouts of its own, is this near to the teacher."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reverse_kl: float | None = Field(None, gt=0)
    """KL(student || teacher) at most this much, mean over the student's tokens, in nats."""
    top_k_overlap: float | None = Field(None, ge=0, le=1)
    """Share of the teacher's top-k tokens among the student's, at least this much."""
    top_k: int = Field(16, ge=1)
    rollouts: int = Field(64, ge=1)
    """Questions of the rollout set that the student answers at each look."""
    after: int = Field(0, ge=0)
    """No look before this many optimizer steps."""
    check_every: int = Field(20, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    """As long as the teacher's longest rollout where it is not given."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.reverse_kl is None and self.top_k_overlap is None:
            raise ValueError("give `reverse_kl`, `top_k_overlap`, or both")
        return self


class Config(StageConfig, Optimization):
    title: ClassVar[str] = "Stage 2a"
    metric_titles: ClassVar[dict[str, str]] = {"kl": "KL(teacher ‖ student), nats per token"}
    followed: ClassVar[tuple[str, ...]] = ("kl", "top_k_overlap")

    stage: Literal["forward_kl_warmup"] = "forward_kl_warmup"
    policy: ModelRef
    teacher: ModelRef
    rollouts: RolloutsRef
    """A rollout set that this teacher wrote; another writer is refused."""
    rollouts_per_step: int = Field(64, ge=1)
    """Rollouts in the global batch of one optimizer step."""
    temperature: float = Field(1.0, gt=0)
    """Softmax temperature of both distributions inside the divergence."""
    until: Until | None = None
    """With it, `steps` (or `epochs`) is the most that is done; needs `schedule: constant`."""

    @property
    def generator(self) -> str | None:
        """The student writes only where it is looked at."""
        return "policy" if self.until is not None else None

    @model_validator(mode="after")
    def _rate_stays(self) -> Self:
        if self.until is not None and self.schedule != "constant":
            raise ValueError(
                "`until` needs `schedule: constant`: a rate that falls over the budget would end in mid-fall"
            )
        return self

    def work(self, known: Known) -> Work:
        return work_on_rollouts(self, known, teacher="teacher")


def run(config: Config, context: StageContext) -> StageOutcome:
    from reasoning_pipeline.training.distillation import cached_distillation_trainer, train_with_teacher

    trainer = cached_distillation_trainer(config, context)
    if config.until is not None:
        from reasoning_pipeline.workflows.reasoning.until import DistanceWatch

        trainer.watch = DistanceWatch(config, context, trainer)
    return train_with_teacher(trainer, context)
