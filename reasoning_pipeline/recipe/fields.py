"""Fields that the Configs of several stages share: how weights are updated, how rollouts are written, how large a new
model is."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Lora(BaseModel):
    """Low-rank adapters (Hu et al., arXiv 2106.09685) instead of all weights. What is published is whole: adapters are
    merged into the weights, so every later step, server and evaluation sees a plain model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(32, ge=1)
    alpha: float = Field(32.0, gt=0)
    """The adapters' product is scaled by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Above 0 the trainer's log-probabilities differ from the server's; keep it 0 where rollouts are scored."""
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """Names of the linear layers that get an adapter: all of them, since attention alone learns less."""

    @field_validator("targets")
    @classmethod
    def _some(cls, targets: tuple[str, ...]) -> tuple[str, ...]:
        if not targets:
            raise ValueError("name at least one kind of layer")
        return targets


class Optimization(BaseModel):
    """Fields of every step that updates weights; a stage's `Config` inherits them.

    The global batch is the experiment; how it is split over devices is the hardware profile's affair.
    """

    learning_rate: float = Field(1e-6, gt=0)
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """After warmup. `cosine` falls to `final_learning_rate_ratio` of the peak."""
    final_learning_rate_ratio: float = Field(0.1, ge=0, le=1)
    """Our choice: a tenth, so that the last steps still learn. Neither the paper nor its authors' code says how far."""
    warmup_ratio: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    adam_beta2: float = Field(0.999, ge=0, lt=1)
    max_grad_norm: float = Field(1.0, gt=0)
    steps: int | None = Field(None, ge=1)
    """Optimizer steps. Exactly one of `steps` and `epochs`."""
    epochs: float | None = Field(None, gt=0)
    lora: Lora | None = None
    """Train adapters alone. They want about ten times the learning rate of all weights."""
    save_every: int = Field(50, ge=1)
    """Optimizer steps between resume points; a killed step loses at most this much."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give exactly one of `steps` and `epochs`")
        return self


class Sampling(BaseModel):
    """How a policy writes rollouts during training; the ratios of GRPO assume the plain distribution."""

    temperature: float = Field(1.0, gt=0)
    max_prompt_tokens: int = Field(2048, ge=1)
    """Problems with longer prompts are set aside and counted before training."""
    max_completion_tokens: int = Field(16384, ge=1)


class SamplingWhileTraining(Sampling):
    """Of a policy that changes while it writes."""

    max_staleness: Literal[0, 1] = 0
    """Optimizer steps by which the policy that writes may be behind the one that learns: 1 lets the server write the
    next batch while the optimizer works on this one."""


class Architecture(BaseModel):
    """A Qwen3 with tied embeddings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden_size: int = Field(64, ge=8)
    layers: int = Field(2, ge=1)
    heads: int = Field(2, ge=1)
    head_dim: int = Field(32, ge=4)
    max_positions: int = Field(128, ge=16)
