"""What a recipe is, once validated: data and pools, the prompt, the steps, the evaluations, the arms.

Frozen records without behaviour beyond looking things up; reading.py reads them from YAML, checks.py looks for
what is wrong between the fields, arms.py derives the arms, sections.py says what workflows add. No torch here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from reasoning_pipeline.data.config import DataConfig, PromptConfig
from reasoning_pipeline.recipe.stage import Input, StageConfig, can_answer, fields_marked

STEP = "step:"
"""Prefix of a reference to another step's output."""

MAIN = "main"
"""The arm that the recipe's own steps are."""

RESERVED_NAMES = ("registry", "work")
"""Folders of a root that are not a recipe's."""


class ArmEdit(BaseModel):
    """An arm as it is written: what differs from the recipe's own steps. arms.py says how it is applied."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = ""
    """What the arm is for, as pages say it."""
    drop: tuple[str, ...] = ()
    """Steps left out; whoever read such a step's policy reads the policy that it would have started from."""
    steps: dict[str, dict[str, Any]] = {}
    """Changed fields of steps, and whole new steps, over the recipe's own as in `extends:`."""
    outcome: str | None = None
    """The step whose checkpoint stands for the arm in comparisons; the recipe's own where it is not given."""
    lacks: str = ""
    """The stage that this arm does without (`Stage 2a`), for the page that says which stage earned what."""
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
    curve: str = ""
    sections: dict[str, Any] = {}
    """What workflows' keys say of this arm."""


class Recipe(BaseModel):
    """A validated recipe. `steps` keeps the order of the file; references decide what waits for what."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    """Of the run: its folder below the root."""
    description: str = ""
    """What the recipe is for, as pages say it."""
    seed: int = 0
    """Of every step that has none of its own, and of what is made from nothing."""
    seeds: tuple[int, ...] = ()
    """What `--seeds all` means: decided here, before anything is run."""
    prompt: PromptConfig = PromptConfig()
    """How a question is put to a model."""
    data: dict[str, DataConfig] = {}
    """Data set -> where its problems come from and the pools they are divided into."""
    stages: tuple[str, ...] = ()
    """Files, or folders of files, with stages of one's own: trusted code, run when the recipe is read."""
    steps: dict[str, StageConfig] = {}
    """Step -> its stage and that stage's keys; references decide what waits for what."""
    outcome: str | None = None
    """The step that stands for the main arm in comparisons; its last checkpoint where it is not given."""
    curve: str = ""
    """The curve of the main arm, as in `arms`."""
    searched: dict[str, str] = {}
    """Arm -> the recipe, relative to this one, whose arms were tried on a validation split to settle this arm."""
    curves_from: str | None = None
    """The recipe, relative to this one, whose arms give the curves of this one's page; without it, its own arms."""
    arms: dict[str, Arm] = {}
    """Name -> what differs from the recipe's own steps, for comparisons."""
    sections: dict[str, Any] = {}
    """What stands under the keys that workflows add (sections.py), each as its section reads it."""
    sized_for: tuple[str, ...] = ()
    """Hardware profiles that its batches and lengths were chosen for, by name: for people, and `recipes` shows it."""
    expectation: str = ""
    """What a reader should expect of the numbers, shown at the top of the report."""

    path: Path
    """Where it was read from; not part of any fingerprint."""

    _one_or_many = field_validator("stages", mode="before")(lambda v: (v,) if isinstance(v, str) else v)

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

    @cached_property
    def folder(self) -> Path:
        """Where relative paths in it start."""
        return Path(self.path).resolve().parent

    @property
    def main_outcome(self) -> str | None:
        """The step that stands for the recipe's own steps; None where none of them makes what can answer."""
        made = [name for name, config in self.steps.items() if can_answer(config)]
        return self.outcome or (made[-1] if made else None)

    def references(self, step: str) -> Iterator[tuple[str, str, str]]:
        """(field, reference, kind) of every input of a step."""
        config = self.steps[step]
        for field, mark in fields_marked(type(config), Input).items():
            assert isinstance(mark, Input)
            if (reference := getattr(config, field)) is not None:
                yield field, reference, mark.kind

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


@dataclass(frozen=True)
class World:
    """One arm under one seed: a recipe by itself, whose labels nobody else spends.

    Example:
        World(arm="no_warmup", seed=1, recipe=Recipe(...), outcome="polish")
    """

    arm: str
    seed: int
    recipe: Recipe
    """Its steps are the arm's, each with its seed filled in."""
    outcome: str | None
