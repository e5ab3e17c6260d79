"""Settings that stages of any workflow may share: how weights are updated, how a policy writes, a model's shape."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Lora(BaseModel):
    """Low-rank adapters (Hu et al., arXiv 2106.09685) instead of all weights. What is published is whole: adapters are
    merged into the weights, so every later step, server and evaluation sees a plain model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(32, ge=1)
    """Of the two matrices of an adapter."""
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
    """Of AdamW, at its peak."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """After warmup. `cosine` falls to `final_learning_rate_ratio` of the peak."""
    final_learning_rate_ratio: float = Field(0.1, ge=0, le=1)
    """Our choice: a tenth, so that the last steps still learn. Neither the paper nor its authors' code says how far."""
    warmup_ratio: float = Field(0.0, ge=0, lt=1)
    """Share of the optimizer steps over which the learning rate rises from 0."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled, as in AdamW."""
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    """Decay of the mean of gradients."""
    adam_beta2: float = Field(0.999, ge=0, lt=1)
    """Decay of the mean of squared gradients."""
    max_grad_norm: float = Field(1.0, gt=0)
    """A longer gradient, over all weights, is scaled down to this."""
    steps: int | None = Field(None, ge=1)
    """Optimizer steps. Exactly one of `steps` and `epochs`."""
    epochs: float | None = Field(None, gt=0)
    """Passes over the problems, or the rollouts, that the step learns from."""
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
    """Of the softmax that tokens are drawn from."""
    max_prompt_tokens: int = Field(2048, ge=1)
    """Problems with longer prompts are set aside and counted before training."""
    max_completion_tokens: int = Field(16384, ge=1)
    """A completion that reaches it is cut, and counts as truncated."""


class SamplingWhileTraining(Sampling):
    """Of a policy that changes while it writes."""

    max_staleness: Literal[0, 1] = 0
    """Optimizer steps by which the policy that writes may be behind the one that learns: 1 lets the server write the
    next batch while the optimizer works on this one."""


class Architecture(BaseModel):
    """A Qwen3 with tied embeddings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden_size: int = Field(64, ge=8)
    """Width of the residual stream."""
    layers: int = Field(2, ge=1)
    """Transformer blocks."""
    heads: int = Field(2, ge=1)
    """Attention heads, with as many for keys and values."""
    head_dim: int = Field(32, ge=4)
    """Width of one head."""
    max_positions: int = Field(128, ge=16)
    """Longest sequence in tokens."""
