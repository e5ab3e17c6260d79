"""What every stage shares before any heavy import: its `Config` base class, and the marks that tell the plan what a
field means.

A stage is one file in `stages/`: a docstring, a `Config(StageConfig)`, a `run(config, context)`. The plan reads from
`Config` alone which other steps it needs, which labels it spends and which model it generates with; there is no
registration. `run` and `StageContext` live on the heavy side (see run/context.py).
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

OutputKind = Literal["checkpoint", "rollouts", "evaluation", "measurement"]


@dataclass(frozen=True)
class Input:
    """Marks a field that names a model or another step's output: `step:NAME`, a hub id, or a path."""

    kind: OutputKind


@dataclass(frozen=True)
class Spends:
    """Marks a field that lists the pools whose *labels* a step uses."""


@dataclass(frozen=True)
class Prompts:
    """Marks a field that lists the pools whose questions a step uses without looking at the answers."""


@dataclass(frozen=True)
class Measures:
    """Marks a field that lists the pools whose labels a step scores with; nothing learns from them."""


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


ModelRef = Annotated[str, Input("checkpoint")]
RolloutsRef = Annotated[str, Input("rollouts")]
Pools = tuple[str, ...]


class StageConfig(BaseModel):
    """Base of every stage's `Config`. Unknown keys are errors; defaults are the settings we stand behind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: ClassVar[int] = 1
    """Raised when the stage's code changes what it computes; part of every fingerprint."""
    publishes: ClassVar[OutputKind] = "checkpoint"
    generates_with: ClassVar[str | None] = None
    """The field whose model writes rollouts, so that a server of its architecture stands ready; None needs none."""
    heavy: ClassVar[bool] = True
    """False where one plain process does the step, whatever the profile's launcher: it only talks to the server, or
    is too small to divide."""

    stage: str
    seed: int | None = None
    """Takes the recipe's seed where it is not given."""

    def brings(self) -> dict[str, str]:
        """What a stage makes from its own code and no field names, e.g. a tokenizer: name -> digest, part of the
        fingerprint."""
        return {}

    @property
    def generator(self) -> str | None:
        """`generates_with` of this very step: a stage may generate under some settings only."""
        return type(self).generates_with


class SpendsLabels(StageConfig):
    """Mixin for stages that learn from verified rewards."""

    spends: Annotated[Pools, Spends(), Field(min_length=1)]
    """Pools whose labels this step spends. One name or a list."""
    replay: bool = False
    """Says that spending a pool again is meant (a control); without it, a spent pool is refused."""

    _one_or_many = field_validator("spends", mode="before")(_as_tuple)


class UsesPrompts(StageConfig):
    """Mixin for stages that read questions but no answers."""

    prompts: Annotated[Pools, Prompts(), Field(min_length=1)]
    """Pools whose questions this step uses; no label is spent."""

    _one_or_many = field_validator("prompts", mode="before")(_as_tuple)


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


@cache
def stage_kinds() -> tuple[str, ...]:
    """Names of the stages that exist: one per file in `stages/`."""
    from reasoning_pipeline.workflows.reasoning import stages

    return tuple(sorted(name for _, name, _ in pkgutil.iter_modules(stages.__path__) if not name.startswith("_")))


@cache
def stage_module(kind: str) -> ModuleType:
    """The module of one stage. Importing it must stay cheap (no torch); the contract test checks."""
    return importlib.import_module(f"reasoning_pipeline.workflows.reasoning.stages.{kind}")


def fields_marked(config: type[BaseModel], mark: type) -> dict[str, object]:
    """Field name -> mark, for the fields of a config that carry a mark of this type."""
    found: dict[str, object] = {}
    for name, field in config.model_fields.items():
        for item in field.metadata:
            if isinstance(item, mark):
                found[name] = item
    return found
