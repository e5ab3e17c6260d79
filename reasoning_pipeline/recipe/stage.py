"""What every stage shares before any heavy import: its `Config` base class, and the marks that tell the plan what a
field means.

A stage is one file in a workflow's `stages/`: a docstring, a `Config(StageConfig)`, a `run(config, context)`. The plan
reads from `Config` alone which other steps it needs, which labels it spends, which model it generates with and how much
work it is; there is no registration. `run` and `StageContext` live on the heavy side (run/context.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from reasoning_pipeline.recipe.work import Known, Work


@dataclass(frozen=True)
class Input:
    """Marks a field that names a model or another step's output: `step:NAME`, a hub id, or a path. A field that may be
    None is an input only where it is given."""

    kind: str
    """What the step publishes that may stand here (`StageConfig.publishes`)."""


@dataclass(frozen=True)
class File:
    """Marks a field that names a file, or several by name: relative to the recipe as written, whole when the step runs.
    What the files hold is part of the step's identity, and how they are called is not."""

    part: str | None = None
    """A part of the identity of their own, for fields whose digests stood there before there was this mark."""


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


def can_answer(config: type[StageConfig] | StageConfig) -> bool:
    """Whether what it publishes can be asked questions: a checkpoint, or what says so of itself."""
    return config.publishes == "checkpoint" or config.answers


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


ModelRef = Annotated[str, Input("checkpoint")]
RolloutsRef = Annotated[str, Input("rollouts")]
Pools = tuple[str, ...]
Mark = TypeVar("Mark")

STEP_PROGRAM = "reasoning_pipeline.run.program"
EVALUATION_PROGRAM = ("reasoning_pipeline.beside.evals", "step")


class StageConfig(BaseModel):
    """Base of every stage's `Config`. Unknown keys are errors; defaults are the settings we stand behind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: ClassVar[int] = 1
    """Raised when the stage's code changes what it computes; part of every fingerprint."""
    publishes: ClassVar[str] = "checkpoint"
    """The kind of its artifact, a word: a checkpoint is a model, an evaluation scores one, a measurement says something
    about the run. Others may be made up; a field marked `Input` of that kind then takes them."""
    answers: ClassVar[bool] = False
    """Whether its artifact answers questions though it is no checkpoint, so that it may be an arm's outcome and be
    scored."""
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

    def problems_in(self, folder: Path) -> Iterator[str]:
        """What is wrong with it that only the recipe's folder shows, each begun by the field's name; runs nothing."""
        return iter(())

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

    @property
    def generators_beside(self) -> tuple[str, ...]:
        """Further fields whose models write, each asked for with `context.sampler(FIELD)` when its turn comes. Models
        of one architecture take turns on one server, so that asking for the next ends the turn of the one before."""
        return ()


class Evaluation(StageConfig):
    """Base of steps that score a checkpoint. Their record's result has `suites`: name -> figures, of which `accuracy`
    is one; beside the record, a folder a suite holds the samples."""

    publishes: ClassVar[str] = "evaluation"
    heavy: ClassVar[bool] = False
    program: ClassVar[tuple[str, ...]] = EVALUATION_PROGRAM

    checkpoint: ModelRef
    """What is scored."""
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


@cache
def fields_marked(config: type[BaseModel], mark: type[Mark]) -> Mapping[str, Mark]:
    """Field name -> mark, for the fields of a config that carry a mark of this type."""
    found: dict[str, Mark] = {}
    for name, field in config.model_fields.items():
        for item in field.metadata:
            if isinstance(item, mark):
                found[name] = item
    return found
