"""The cached rollout set of Stage 2a: a teacher answers a pool's questions once, and what it wrote is published.

Token ids, sampled log-probabilities and finish reasons are kept, and with `top_k` the teacher's most probable words at
each position, so that the warmup can do without the teacher (`teacher: cached` in the hardware profile). Verdicts are
recorded to watch quality but filter nothing (the paper mentions no filter). Every arm that learns from this teacher
shares the one set.
Try it: python -m reasoning_pipeline run recipes/smoke/teacher_rollouts.yaml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from reasoning_pipeline.recipe.fields import Sampling
from reasoning_pipeline.recipe.stage import ModelRef, UsesPrompts
from reasoning_pipeline.recipe.work import Known, Work

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext, StageOutcome


class Config(UsesPrompts, Sampling):
    publishes: ClassVar[str] = "rollouts"
    generates_with: ClassVar[str | None] = "teacher"
    heavy: ClassVar[bool] = False

    stage: Literal["teacher_rollouts"] = "teacher_rollouts"
    teacher: ModelRef
    rollouts_per_prompt: int = Field(8, ge=1)
    top_k: int = Field(0, ge=0)
    """Words whose log-probabilities the teacher leaves at each position, so that the warmup can learn without it
    (`teacher: cached` in the hardware profile); 8 bytes a word before base64. 0 keeps token ids alone."""

    def work(self, known: Known) -> Work:
        return Work(
            rows=known.prompts * self.rollouts_per_prompt,
            prompt_limit=self.max_prompt_tokens,
            completion_limit=self.max_completion_tokens,
            policy="teacher",
            generates=True,
        )


def run(config: Config, context: StageContext) -> StageOutcome:
    from reasoning_pipeline.rollouts.collect import collect_rollouts

    return collect_rollouts(config, context)
