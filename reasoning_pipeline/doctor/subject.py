"""What is examined, and what a check says about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.models.outside import hub_snapshot, outside_folder
from reasoning_pipeline.plan.graph import Plan, PlannedInput

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Example:
        Finding(level="error", check="disk", message="212 GB are needed, 40 GB are free in runs",
                remedy="give another --root, or free space")
    """

    level: Level
    check: str
    message: str
    remedy: str | None = None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A planned recipe on a hardware profile."""

    plan: Plan
    profile: HardwareProfile
    root: Path
    offline: bool = False
    """Nothing can be downloaded when it runs: what is not in the cache is an error."""
    runs_here: bool = False
    """Trainers start on this very machine, and nowhere else: what a profile asks for must be here."""
    with_models: bool = False
    """Load models for the probe whatever their size."""

    def models(self) -> list[Model]:
        """Every model from outside that a step reads, once."""
        found: dict[str, list[str]] = {}
        for step in self.plan.steps:
            for entry in step.inputs:
                if entry.step is None:
                    found.setdefault(entry.reference, []).append(step.name)
        return [
            Model(reference, tuple(steps), self.folder(reference), self._commit(reference))
            for reference, steps in found.items()
        ]

    def called(self, folder: Path | str) -> str:
        """A model's folder in a person's words: the step that made it, where one did; else the folder's own name."""
        name = Path(folder).name
        return next((step.name for step in self.plan.steps if step.output == name), name)

    def _commit(self, reference: str) -> str:
        """`name@commit` of a hub model where that is known; nothing for a folder or an artifact."""
        local = outside_folder(reference, self.plan.recipe.folder) is not None
        return self.plan.pins.model(reference) if not local and reference.count("/") == 1 else ""

    def folder(self, reference: str) -> Path | None:
        """Where a model from outside is on this machine; None where it is not."""
        folder = outside_folder(reference, self.plan.recipe.folder)
        if folder is not None:
            return folder if folder.is_dir() else None
        if reference.count("/") == 1:
            return _cached(self.plan.pins.model(reference))
        artifact = self.plan.registry.folder / reference
        return artifact if artifact.is_dir() else None

    def origin(self, entry: PlannedInput) -> Path | None:
        """The folder with the tokenizer of a step's input: training does not change it. None where none is here yet."""
        while entry.step is not None:
            parent = self.plan.step(entry.step)
            if parent.artifact is not None:
                return parent.artifact.folder
            before = [other for other in parent.inputs if other.field == "policy"]
            if not before:
                return None
            entry = before[0]
        return (
            self.plan.registry.folder / entry.artifact if entry.artifact is not None else self.folder(entry.reference)
        )


@dataclass(frozen=True)
class Model:
    """A model that no step of the recipe makes."""

    reference: str
    steps: tuple[str, ...]
    folder: Path | None
    commit: str
    """Of a hub model: `name@commit`, or its name alone while no commit is known. Else nothing."""


Check = Callable[[Subject], Iterator[Finding]]


def _cached(reference: str) -> Path | None:
    try:
        return hub_snapshot(reference)
    except ValueError as error:
        raise RecipeError(reference, ["no name that the hub could have"]) from error
