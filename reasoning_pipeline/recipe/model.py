"""What a recipe is, once validated: data and pools, the prompt, the steps, the evaluations, the arms.

Frozen records without behaviour beyond looking things up; recipe.py reads them from YAML, recipe_checks.py looks for
what is wrong between the fields, arms.py derives the arms. No torch here.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from reasoning_pipeline.base.validation import suggestion
from reasoning_pipeline.data.arithmetic import MOST_PROBLEMS, SPLITS
from reasoning_pipeline.data.prompts import PromptConfig
from reasoning_pipeline.recipe.stage import Input, StageConfig, fields_marked
from reasoning_pipeline.workflows.reasoning.gates import GatesConfig

STEP = "step:"
"""Prefix of a reference to another step's output."""

MAIN = "main"
"""The arm that the recipe's own steps are."""

RESERVED_NAMES = ("registry", "work")
"""Folders of a root that are not a recipe's."""


class IdsFile(BaseModel):
    """A pool that a file lists: one problem id a line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    """Relative paths start at the recipe's folder."""


class DataConfig(BaseModel):
    """One set of problems and the pools it is divided into."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Literal["arithmetic", "jsonl", "hub"]
    path: str | None = None
    """`jsonl`: the file; relative paths start at the recipe's folder."""
    id: str | None = None
    """`hub`: data set id."""
    revision: str | None = None
    split: str = "train"
    """`hub`: split. `arithmetic`: pool, validation, test or hard."""
    subset: str | None = None
    count: int | None = Field(None, ge=1)
    """`arithmetic`: how many problems. Elsewhere: keep only this many (by stable hash)."""
    unusable_answers: Literal["refuse", "set_aside"] = "refuse"
    """What to do with a row whose answer is empty: an error that names it, or leave it out and count it."""
    benchmark_overlap: Literal["ngram", "exact", "keep"] = "ngram"
    """Problems that also stand in a suite of `evaluate` are left out and counted: by thirteen words in a row or the
    whole text (`ngram`), by the whole text alone (`exact`), or not at all (`keep`). labels.py says which suites can be
    looked at."""
    columns: dict[Literal["id", "question", "answer"], str] = {}
    """Names of the columns where they differ from id, question (or problem), answer."""
    pools: dict[str, Fraction | IdsFile] = {}
    """Pool name -> share of the problems ("3/4") or `{file: ids.txt}`; pools of one data set never overlap. What files
    name is taken first, and shares divide the rest, as labels.py says."""

    @property
    def varies_with_seed(self) -> bool:
        """Whether a recipe's seed decides which problems these are: only for the world that is made, not read."""
        return self.source == "arithmetic" and self.split not in ("test", "hard")

    @field_validator("pools", mode="before")
    @classmethod
    def _shares_or_files(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        shares: dict[str, Any] = {}
        for name, share in value.items():
            if isinstance(share, dict):
                if set(share) != {"file"} or not isinstance(share["file"], str):
                    raise ValueError(f"the pool {name!r} is a share such as 3/4, or {{file: ids.txt}}")
                shares[name] = IdsFile(file=share["file"])
                continue
            try:
                shares[name] = Fraction(str(share))
            except (ValueError, ZeroDivisionError):
                raise ValueError(f"the share of {name!r} must be a number or a fraction such as 3/4") from None
        return shares

    @model_validator(mode="after")
    def _complete(self) -> DataConfig:
        needed = {"arithmetic": "count", "jsonl": "path", "hub": "id"}[self.source]
        if getattr(self, needed) is None:
            raise ValueError(f"source {self.source!r} needs `{needed}`")
        if self.source == "arithmetic":
            if self.split not in ("train", *SPLITS):
                raise ValueError(f"no split is called {self.split!r}{suggestion(self.split, SPLITS)}")
            if (self.count or 0) > MOST_PROBLEMS:
                raise ValueError(f"the arithmetic world has at most {MOST_PROBLEMS:,} problems (got {self.count:,})")
        shares = [share for share in self.pools.values() if isinstance(share, Fraction)]
        if sum(shares) > 1:
            raise ValueError(f"the pools' shares add up to {sum(shares)}, more than the whole")
        if any(share <= 0 for share in shares):
            raise ValueError("a pool's share must be above 0")
        return self


class EvaluationConfig(BaseModel):
    """Which checkpoints are scored, on what, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suites: tuple[str, ...] = ()
    data: dict[str, str] = {}
    """Suite -> local JSONL, where it should not come from the hub."""
    samples: int = Field(16, ge=1)
    """Per problem: avg@k."""
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    max_tokens: int = Field(16384, ge=1)
    limit: int | None = Field(None, ge=1)
    """Only this many problems of each suite (smoke runs)."""
    seed: int = 0
    of: tuple[str, ...] | None = None
    """Steps of the main arm whose checkpoints are scored; all of them where it is not given. Every arm's outcome is
    scored besides, so `[]` means: outcomes only."""

    _one_or_many = field_validator("suites", mode="before")(lambda v: (v,) if isinstance(v, str) else v)


class ArmEdit(BaseModel):
    """An arm as it is written: what differs from the recipe's own steps. arms.py says how it is applied."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = ""
    drop: tuple[str, ...] = ()
    """Steps left out; whoever read such a step's policy reads the policy that it would have started from."""
    steps: dict[str, dict[str, Any]] = {}
    """Changed fields of steps, and whole new steps, over the recipe's own as in `extends:`."""
    outcome: str | None = None
    lacks: str = ""
    """The stage that this arm does without (`Stage 2a`), for the page that says which stage earned what."""
    published: str | None = None
    """The row of the published table that this arm is the counterpart of; published.py lists them."""
    curve: str = ""
    """Arms of one curve are joined where accuracy is drawn against labels."""

    _one_or_many = field_validator("drop", mode="before")(lambda v: (v,) if isinstance(v, str) else v)


class Arm(BaseModel):
    """A variation of the recipe, derived: the steps that lead to its outcome."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    description: str
    steps: dict[str, StageConfig]
    outcome: str
    """The step whose checkpoint stands for the arm in comparisons."""
    lacks: str = ""
    published: str | None = None
    curve: str = ""


class Recipe(BaseModel):
    """A validated recipe. `steps` keeps the order of the file; references decide what waits for what."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    description: str = ""
    seed: int = 0
    seeds: tuple[int, ...] = ()
    """What `--seeds all` means: decided here, before anything is run."""
    prompt: PromptConfig = PromptConfig()
    data: dict[str, DataConfig] = {}
    steps: dict[str, StageConfig] = {}
    outcome: str | None = None
    """The step that stands for the main arm in comparisons; its last checkpoint where it is not given."""
    published: str | None = None
    """The row of the published table that the main arm is the counterpart of."""
    curve: str = ""
    """The curve of the main arm, as in `arms`."""
    searched: dict[str, str] = {}
    """Arm -> the recipe, relative to this one, whose arms were tried on a validation split to settle this arm."""
    curves_from: str | None = None
    """The recipe, relative to this one, whose arms give the curves of this one's page; without it, its own arms."""
    arms: dict[str, Arm] = {}
    evaluate: EvaluationConfig | None = None
    gates: GatesConfig | None = None
    """Conditions that are measured along the way, and what to do where one does not hold."""
    expectation: str = ""
    """What a reader should expect of the numbers, shown at the top of the report."""

    path: Path
    """Where it was read from; not part of any fingerprint."""

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name in RESERVED_NAMES:
            raise ValueError("the root keeps a folder of this name for itself")
        return name

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed stands twice")
        return seeds

    @property
    def main_outcome(self) -> str | None:
        """The step that stands for the recipe's own steps; None where none of them makes a checkpoint."""
        made = [name for name, config in self.steps.items() if type(config).publishes == "checkpoint"]
        return self.outcome or (made[-1] if made else None)

    def references(self, step: str) -> Iterator[tuple[str, str, str]]:
        """(field, reference, kind) of every input of a step."""
        config = self.steps[step]
        for field, mark in fields_marked(type(config), Input).items():
            assert isinstance(mark, Input)
            yield field, getattr(config, field), mark.kind

    def parents(self, step: str) -> list[str]:
        """Names of the steps whose output this step reads."""
        return [ref.removeprefix(STEP) for _, ref, _ in self.references(step) if ref.startswith(STEP)]

    def pools(self) -> dict[str, str]:
        """Pool -> data set it belongs to."""
        return {pool: name for name, data in self.data.items() for pool in data.pools}

    def pools_of(self, step: str, mark: type) -> tuple[str, ...]:
        """Pools a step spends (`Spends`) or only reads the questions of (`Prompts`)."""
        config = self.steps[step]
        return tuple(pool for field in fields_marked(type(config), mark) for pool in getattr(config, field))


def lineage(recipe: Recipe, step: str) -> list[str]:
    """The step's ancestors, oldest first, without itself."""
    seen, ordered = {step}, []

    def visit(name: str) -> None:
        for parent in recipe.parents(name):
            if parent in recipe.steps and parent not in seen:
                seen.add(parent)
                visit(parent)
                ordered.append(parent)

    visit(step)
    return ordered
