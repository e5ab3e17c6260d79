"""Settings and helpers that more than one stage of this workflow reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from reasoning_pipeline.recipe.fields import Lora, Optimization
from reasoning_pipeline.records import Decoding

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext
    from reasoning_pipeline.run.speaking import Memory, Speaker


class AdapterTraining(Optimization):
    """The paper's settings of both adapters, as its released code has them."""

    learning_rate: float = Field(5e-4, gt=0)
    """At its highest."""
    schedule: str = "cosine"  # type: ignore[assignment]
    final_learning_rate_ratio: float = Field(0.0, ge=0, le=1)
    weight_decay: float = Field(1e-4, ge=0)
    adam_beta2: float = Field(0.98, ge=0, lt=1)
    epochs: float | None = Field(8, ge=1)
    """Whole ones: the adapter of each is kept and looked at."""
    lora: Lora | None = Lora(rank=64, alpha=128, dropout=0.05)
    rows_per_step: int = Field(32, ge=1)
    """Global batch; a cluster with fewer rows is one batch."""
    max_length: int = Field(12_000, ge=16)
    """Tokens of prompt and completion; what is longer is cut at its end."""
    train_share: float = Field(0.8, gt=0, lt=1)
    """Of a cluster's logs; the rest is held out."""
    split_seed: int = 42
    """Which logs of a cluster are held out."""
    least_logs: int = Field(10, ge=3)
    """A cluster with fewer gets no adapter: nothing could be said about it."""


class Writing(AdapterTraining):
    """How the policy answers while adapters are compared, and later when it serves."""

    temperature: float = Field(0.1, ge=0)
    """Of sampling."""
    max_prompt_tokens: int = Field(8192, ge=1)
    """A longer prompt ends the step."""
    max_completion_tokens: int = Field(2048, ge=1)
    """Of one answer."""

    def decoding(self) -> Decoding:
        return Decoding(temperature=self.temperature, max_tokens=self.max_completion_tokens, seed=self.split_seed)


def adapted_speaker(context: StageContext, field: str, *, max_prompt_tokens: int, memory: Memory | None) -> Speaker:
    """The model of a field with adapters beside it, in this process."""
    from reasoning_pipeline.rollouts.adapted import AdaptedModel
    from reasoning_pipeline.run.speaking import Speaker

    folder = context.inputs[field]
    profile = context.profile
    return Speaker(
        AdaptedModel(folder, dtype=profile.precision, device=profile.device),
        context.renderer(field),
        version=folder.name,
        memory=memory,
        max_prompt_tokens=max_prompt_tokens,
        between=context.stop_if_asked,
    )


def speaker(context: StageContext, field: str, *, max_prompt_tokens: int, memory: Memory | None) -> Speaker:
    """The model of a field as the run's engine has it: a server, or this process."""
    from reasoning_pipeline.run.speaking import Speaker

    return Speaker(
        context.sampler(field),
        context.renderer(field),
        version=context.inputs[field].name,
        memory=memory,
        max_prompt_tokens=max_prompt_tokens,
        between=context.stop_if_asked,
    )


def other_speaker(context: StageContext, field: str, *, max_prompt_tokens: int, memory: Memory | None) -> Speaker:
    """Another model than the one the server holds: in this process."""
    from reasoning_pipeline.rollouts.session import transformers_sampler
    from reasoning_pipeline.run.speaking import Speaker

    folder: Path = context.inputs[field]
    return Speaker(
        transformers_sampler(folder, context.profile),
        context.renderer(field),
        version=folder.name,
        memory=memory,
        max_prompt_tokens=max_prompt_tokens,
        between=context.stop_if_asked,
    )
