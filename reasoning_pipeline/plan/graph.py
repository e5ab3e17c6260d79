"""Recipe -> plan: the steps of all its arms in order, each with its identity, its inputs, what it spends, and whether
it is done.

A step's fingerprint is the hash of its validated config, its inputs' fingerprints, the problems it reads, the prompt
and the stage's version: not the hardware, not paths, not the arm. Equal fingerprints are the same work, and done only
once: an arm is the steps that it has for itself, and it shares the rest.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.validation import suggestion
from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.models.pins import Pins
from reasoning_pipeline.plan.ledger import Ledger
from reasoning_pipeline.recipe.arms import ALL
from reasoning_pipeline.recipe.model import Recipe
from reasoning_pipeline.recipe.stage import Evaluation, Measures, Prompts, Reads, Spends, StageConfig, fields_marked
from reasoning_pipeline.records import Problem
from reasoning_pipeline.registry.record import Spend
from reasoning_pipeline.registry.store import Artifact, Registry


@dataclass(frozen=True)
class PlannedInput:
    """What a field of a step's config refers to."""

    field: str
    reference: str
    fingerprint: str
    step: str | None
    """The step that makes it, by its name in the plan; None where no step of this recipe does."""
    artifact: str | None
    """Its folder name in the registry, published or not; None for a model from outside."""


@dataclass(frozen=True)
class PlannedArm:
    """One arm under one seed: its steps by the names that they have inside the arm.

    Example:
        PlannedArm(name="no_warmup", seed=1, description="…", recipe=Recipe(...), ledger=Ledger(...),
                   steps={"student_base": "student_base@1", "distill": "no_warmup.distill@1"},
                   outcome="no_warmup.distill@1", evaluation="no_warmup.distill@1.evaluate")
    """

    name: str
    seed: int
    description: str
    recipe: Recipe
    ledger: Ledger
    steps: dict[str, str]
    """Name inside the arm -> name in the plan."""
    outcome: str | None
    """Name in the plan of the step whose checkpoint stands for the arm."""
    evaluation: str | None
    """Name in the plan of the evaluation of that checkpoint; None where the recipe evaluates nothing."""


@dataclass(frozen=True)
class PlannedStep:
    """One node of the graph."""

    name: str
    config: StageConfig
    inputs: tuple[PlannedInput, ...]
    identity: dict[str, Any]
    fingerprint: str
    spends: tuple[Spend, ...]
    """Labels that this step takes."""
    asks: tuple[Spend, ...]
    """Questions that this step reads without their answers."""
    lineage: tuple[Spend, ...]
    """What this step and all it comes from have taken, oldest first, models from elsewhere included."""
    users: tuple[tuple[str, int], ...]
    """(arm, seed) of those that have it; more than one where arms share it."""
    ledger: Ledger = field(repr=False)
    """Of the first arm that has it: where its problems are read."""
    artifact: Artifact | None
    """Present when the step is complete."""

    @property
    def complete(self) -> bool:
        return self.artifact is not None

    @property
    def prompts(self) -> int:
        """Problems read without their answers."""
        return sum(asked.prompts for asked in self.asks)

    @property
    def output(self) -> str:
        """Name of the step's folder in the registry and in the work area."""
        return Registry.artifact_name(self.config.stage, self.fingerprint)

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms that have it under any seed, in the recipe's order."""
        return tuple(dict.fromkeys(arm for arm, _ in self.users))

    def input(self, field_name: str) -> PlannedInput:
        return next(entry for entry in self.inputs if entry.field == field_name)

    def problems(self) -> list[Problem]:
        """The problems of the pools (or the data set) that the step names; empty where it names none."""
        for mark in (Spends, Prompts, Measures):
            for name in fields_marked(type(self.config), mark):
                if pools := getattr(self.config, name):
                    return self.ledger.problems(pools)
        for name in fields_marked(type(self.config), Reads):
            if data := getattr(self.config, name):
                return self.ledger.data(data)
        return []


@dataclass(frozen=True)
class Plan:
    """All steps of a recipe and its arms, in an order in which they can run."""

    recipe: Recipe
    registry: Registry
    root: Path
    """Holds the recipe's run folder; the registry may lie elsewhere."""
    steps: tuple[PlannedStep, ...]
    arms: tuple[PlannedArm, ...]
    """The main arm first, then the others; all of one seed before those of the next."""
    pins: Pins = field(default_factory=Pins, repr=False)
    """Which commits of the hub it is about."""
    given: str = ""
    """The recipe with the options by which a command line named it, for messages that say what to type."""

    @property
    def named(self) -> str:
        return self.given or str(self.recipe.path)

    @cached_property
    def _by_name(self) -> dict[str, PlannedStep]:
        return {step.name: step for step in self.steps}

    @property
    def ledger(self) -> Ledger:
        """Of the main arm, under the first seed."""
        return self.arms[0].ledger

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(arm.seed for arm in self.arms))

    def step(self, name: str) -> PlannedStep:
        return self._by_name[name]

    def names(self) -> list[str]:
        return list(self._by_name)

    @cached_property
    def _evaluations(self) -> dict[str | None, PlannedStep]:
        return {step.input("checkpoint").step: step for step in self.steps if isinstance(step.config, Evaluation)}

    def evaluation_of(self, checkpoint: str) -> PlannedStep | None:
        """The step that evaluates a checkpoint; None where the recipe does not ask for it."""
        return self._evaluations.get(checkpoint)

    def refreshed(self, *, only: Iterable[str] | None = None) -> Plan:
        """The same plan with completeness looked up again: for the steps that were missing, or only those named.
        Nothing else is read."""
        looked_up = None if only is None else set(only)

        def again(step: PlannedStep) -> PlannedStep:
            if step.complete or (looked_up is not None and step.name not in looked_up):
                return step
            found = self.registry.find(step.config.stage, step.fingerprint)
            return step if found is None else replace(step, artifact=found)

        return replace(self, steps=tuple(again(step) for step in self.steps))

    def of_arms(self, names: Sequence[str], seeds: Sequence[int] = ()) -> Plan:
        """The part of the plan that these arms need, under these seeds (all where none is given); `all` is every arm.

        Raises:
            RecipeError: For an arm that the recipe does not have.
        """
        known = list(dict.fromkeys(arm.name for arm in self.arms))
        problems = [
            f"no arm is called {name!r}{suggestion(name, known)} (arms: {', '.join(known)})"
            for name in names
            if name not in (*known, ALL)
        ]
        if problems:
            raise RecipeError(str(self.recipe.path), problems)
        wanted = {
            (arm.name, arm.seed)
            for arm in self.arms
            if (ALL in names or arm.name in names) and (not seeds or arm.seed in seeds)
        }
        arms = tuple(arm for arm in self.arms if (arm.name, arm.seed) in wanted)
        users = {step.name: tuple(user for user in step.users if user in wanted) for step in self.steps}
        steps = tuple(replace(step, users=users[step.name]) for step in self.steps if users[step.name])
        return replace(self, steps=steps, arms=arms)

    def as_json(self) -> dict[str, Any]:
        """What is written to plan.json: enough for a launcher that has not read the recipe."""
        return {
            "recipe": self.recipe.name,
            "path": os.path.relpath(self.recipe.path, self.root),
            "arms": [
                {"arm": arm.name, "seed": arm.seed, "outcome": arm.outcome, "steps": list(arm.steps.values())}
                for arm in self.arms
            ],
            "steps": [
                {
                    "name": step.name,
                    "stage": step.config.stage,
                    "fingerprint": step.fingerprint,
                    "output": step.output,
                    "complete": step.complete,
                    "config": step.config.model_dump(mode="json"),
                    "inputs": [vars(entry) for entry in step.inputs],
                    "spends": [vars(spend) for spend in (*step.spends, *step.asks)],
                    "users": [list(user) for user in step.users],
                }
                for step in self.steps
            ],
        }
