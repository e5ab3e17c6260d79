"""What every stage shares before any heavy import: its `Config` base class, and the marks that tell the plan what a
field means.

A stage is one file in a workflow's `stages/`: a docstring, a `Config(StageConfig)`, a `run(config, context)`. The plan
reads from `Config` alone which other steps it needs, which labels it spends, which model it generates with and how much
work it is; there is no registration. `run` and `StageContext` live on the heavy side (run/context.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from reasoning_pipeline.recipe.fields import Optimization, SamplingWhileTraining
from reasoning_pipeline.recipe.work import Known, Work, optimizer_steps


@dataclass(frozen=True)
class Input:
    """Marks a field that names a model or another step's output: `step:NAME`, a hub id, or a path."""

    kind: str
    """What the step publishes that may stand here (`StageConfig.publishes`)."""


@dataclass(frozen=True)
class File:
    """Marks a field that names a file, or several by name: relative to the recipe as written, whole when the step runs.
    What the files hold is part of the step's identity, and how they are called is not."""

    identity: str = "files"
    """The part of the identity that holds their digests."""


@dataclass(frozen=True)
class Reads:
    """Marks a field that names a data set of the recipe whose questions a step reads whole."""


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
Mark = TypeVar("Mark")

STEP_PROGRAM = "reasoning_pipeline.run.program"
EVALUATION_PROGRAM = ("evals", "step")


class StageConfig(BaseModel):
    """Base of every stage's `Config`. Unknown keys are errors; defaults are the settings we stand behind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: ClassVar[int] = 1
    """Raised when the stage's code changes what it computes; part of every fingerprint."""
    publishes: ClassVar[str] = "checkpoint"
    """The kind of its artifact, a word: a checkpoint is a model, an evaluation scores one, a measurement says something
    about the run. Others may be made up; a field marked `Input` of that kind then takes them."""
    generates_with: ClassVar[str | None] = None
    """The field whose model writes rollouts, so that a server of its architecture stands ready; None needs none."""
    heavy: ClassVar[bool] = True
    """False where one plain process does the step, whatever the profile's launcher: it only talks to the server, or
    is too small to divide."""
    program: ClassVar[tuple[str, ...]] = (STEP_PROGRAM,)
    """The module that runs it, and that module's own arguments before the context."""
    title: ClassVar[str] = ""
    """Its place in the workflow as readers know it (`Stage 2a`); empty for stages without one."""
    metric_titles: ClassVar[dict[str, str]] = {}
    """What its metrics are called where they mean something of their own."""
    followed: ClassVar[tuple[str, ...]] = ()
    """Metrics worth drawing over several seeds."""

    stage: str
    seed: int | None = None
    """Takes the recipe's seed where it is not given."""

    def brings(self) -> dict[str, str]:
        """What a stage makes from its own code and no field names, e.g. a tokenizer: name -> digest, part of the
        fingerprint."""
        return {}

    def lengths(self) -> tuple[int, int]:
        """(prompt, completion) tokens of the longest rollout it writes; zeros where it writes none."""
        return getattr(self, "max_prompt_tokens", 0), getattr(self, "max_completion_tokens", 0)

    def work(self, known: Known) -> Work | None:
        """How much there is to do, for memory and hours in `plan`; None where nobody can say."""
        return None

    def vocabulary(self) -> dict[str, object] | None:
        """What decides the vocabulary of a model that this step makes from nothing; None where it makes none."""
        return None

    @property
    def generator(self) -> str | None:
        """`generates_with` of this very step: a stage may generate under some settings only."""
        return type(self).generates_with


class Evaluation(StageConfig):
    """Base of steps that score a checkpoint. Their record's result has `suites`: name -> figures, of which `accuracy`
    is one; beside the record, a folder a suite holds the samples."""

    publishes: ClassVar[str] = "evaluation"
    heavy: ClassVar[bool] = False
    program: ClassVar[tuple[str, ...]] = EVALUATION_PROGRAM

    checkpoint: ModelRef
    suites: tuple[str, ...]
    samples: int
    """Per problem."""

    def decoding(self) -> str:
        """How answers were drawn, as a page says it."""
        return f"{self.samples} samples a problem"


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


class GroupRelative(SpendsLabels, Optimization, SamplingWhileTraining):
    """What Stages 1 and 3 share: group-relative policy optimisation against a verified 0/1 reward."""

    generates_with: ClassVar[str | None] = "policy"

    policy: ModelRef
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
    correct_sampler_mismatch: bool = True
    """Importance-sampling correction for trainer and server not agreeing to the last bit, and for rollouts of an older
    policy where max_staleness is 1 (truncated per token)."""

    def work(self, known: Known) -> Work:
        return Work(
            rows=self.problems_per_step * self.group_size,
            steps=optimizer_steps(self, known.labels, self.problems_per_step),
            prompt_limit=self.max_prompt_tokens,
            completion_limit=self.max_completion_tokens,
            scorings=self.correct_sampler_mismatch + (self.kl_coefficient > 0),
            reference=self.kl_coefficient > 0 and self.lora is None,
            generates=True,
            trains=True,
            batch="problems_per_step x group_size",
            lora=self.lora,
        )

    @model_validator(mode="after")
    def _stale_rollouts_are_corrected(self) -> Self:
        if self.max_staleness and not self.correct_sampler_mismatch:
            raise ValueError("max_staleness: 1 needs correct_sampler_mismatch: older rollouts would bias the gradient")
        return self


def fields_marked(config: type[BaseModel], mark: type[Mark]) -> dict[str, Mark]:
    """Field name -> mark, for the fields of a config that carry a mark of this type."""
    found: dict[str, Mark] = {}
    for name, field in config.model_fields.items():
        for item in field.metadata:
            if isinstance(item, mark):
                found[name] = item
    return found
