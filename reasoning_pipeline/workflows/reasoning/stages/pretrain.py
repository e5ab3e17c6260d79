"""Makes a small base model where there is no hub: random Qwen3 weights, a tokenizer made here, and a little training.

For the arithmetic world the corpus is worked solutions: first clean ones until a greedy accuracy is reached, then
noisy ones, so that the model knows the format, half knows the arithmetic, and leaves reinforcement learning something
to find. For other worlds (`corpus: prompts`) it is next-token training on the data set's own text, or none at all
(`clean_steps: 0`), enough to drive every later stage on real prompts.
Try it: python -m reasoning_pipeline run recipes/smoke/pretrain.yaml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from reasoning_pipeline.recipe.fields import Architecture
from reasoning_pipeline.recipe.stage import Reads, StageConfig

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext, StageOutcome


class Config(StageConfig):
    heavy: ClassVar[bool] = False

    stage: Literal["pretrain"] = "pretrain"
    architecture: Architecture = Architecture()
    corpus: Literal["arithmetic", "prompts"] = "arithmetic"
    data: Annotated[str | None, Reads()] = None
    """Data set whose texts train tokenizer and model, where `corpus: prompts`."""
    vocabulary_size: int = Field(112, ge=64)
    """Characters for arithmetic (99, padded); a BPE vocabulary for `prompts`."""
    learning_rate: float = Field(3e-3, gt=0)
    batch: int = Field(32, ge=1)
    clean_steps: int = Field(1800, ge=0)
    """At most this many steps on clean solutions (arithmetic), or exactly this many on text."""
    stop_accuracy: float | None = Field(None, gt=0, le=1)
    """Ends the clean phase at this greedy accuracy on 200 validation problems; learning has a plateau and then a
    jump whose time depends on the seed, so a step count alone does not make comparable models."""
    noisy_steps: int = Field(0, ge=0)
    save_every: int = Field(200, ge=1)
    """Optimizer steps between resume points."""

    def vocabulary(self) -> dict[str, object]:
        return {"corpus": self.corpus, "data": self.data, "vocabulary_size": self.vocabulary_size}

    def brings(self) -> dict[str, str]:
        from reasoning_pipeline.data.tokenizer_making import tokenizer_identity

        return tokenizer_identity(characters=self.corpus == "arithmetic")


def run(config: Config, context: StageContext) -> StageOutcome:
    from reasoning_pipeline.training.pretraining import pretrain

    return pretrain(config, context)
