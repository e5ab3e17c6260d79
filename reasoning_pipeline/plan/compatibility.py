"""Before anything runs: can the models from outside be trained, are they long enough, and may those that a distillation
brings together meet?

A missing file, a mixture of experts, or a teacher and a student that do not share their vocabulary would only be
noticed after the teacher's reinforcement learning, hours in. So each model is traced back to where it comes from, and
looked at there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoning_pipeline.errors import IncompatibleModels, RegistryError
from reasoning_pipeline.models.architecture import positions, why_no_longer
from reasoning_pipeline.models.compatible import check_compatible
from reasoning_pipeline.models.outside import check_finite, hub_snapshot, outside_folder
from reasoning_pipeline.models.refusals import check_model, check_speaks
from reasoning_pipeline.models.trial import check_loads
from reasoning_pipeline.models.weights import weight_files
from reasoning_pipeline.plan.graph import Plan, PlannedInput, PlannedStep
from reasoning_pipeline.recipe.stage import Evaluation

WRITERS = ("policy", "teacher")
"""Fields whose models write text, or judge it token by token."""


def check_models(plan: Plan, *, whole: bool = False) -> None:
    """Everything below, cheapest first. Raises RegistryError, IncompatibleModels or DataError.

    Args:
        whole: As before a run: read every weight of large models, too, and ask transformers about families that are not
            known by heart.
    """
    for folder in outside_folders(plan):
        check_outside(plan, folder, whole=whole, loads=whole)
    for row in longest_rows(plan):
        if row.beyond:
            raise IncompatibleModels(row.said, remedy=row.remedy)
    check_distillations(plan)


def check_outside(plan: Plan, folder: Path, *, whole: bool, loads: bool) -> None:
    """One model from outside: can it be loaded, is every weight a number, can it be spoken to where it has to be? An
    embedder need not speak."""
    writes = folder in outside_folders(plan, fields=WRITERS)
    check_model(folder, writes=writes)
    if writes:
        check_speaks(folder, plan.recipe.prompt)
    if loads:
        check_loads(folder, writes=writes)
    check_finite(folder, plan.registry.root, whole=whole)


def outside_folders(plan: Plan, fields: tuple[str, ...] | None = None) -> list[Path]:
    """The folder of each model that no step and no other recipe makes, where it is on this machine.

    Args:
        fields: Only of those that a step reads by one of these names.
    """
    models = {
        entry.reference: entry
        for step in plan.steps
        for entry in step.inputs
        if entry.step is None and entry.artifact is None and (fields is None or entry.field in fields)
    }
    found = (_folder_of(plan, entry) for entry in models.values())
    return list(dict.fromkeys(folder for folder in found if folder is not None))


def _snapshot(reference: str) -> Path | None:
    """A hub model's folder on this machine. One that is only partly here counts where the hub cannot be asked for the
    rest; else its step fetches that."""
    from huggingface_hub.constants import HF_HUB_OFFLINE

    folder = hub_snapshot(reference)
    if folder is None or HF_HUB_OFFLINE:
        return folder
    try:
        weight_files(folder)
    except RegistryError:
        return None
    return folder if (folder / "config.json").is_file() else None


@dataclass(frozen=True)
class LongestRow:
    """The longest row that any step writes with one model, against the positions that the model has."""

    model: str
    step: str
    tokens: int
    positions: int | None
    why: str = ""
    """What bounds the positions, in brackets, where it is not the configuration's plain number."""
    writes: bool = True
    """Or only reads them."""

    @property
    def beyond(self) -> bool:
        return self.positions is not None and self.tokens > self.positions

    @property
    def said(self) -> str:
        does = "write" if self.writes else "read"
        has = f"{self.model} has {self.positions:,} positions{self.why}"
        return f"{self.step} may {does} rows of {self.tokens:,} tokens, {has}"

    remedy = "lower max_completion_tokens, or choose a model with a longer context"


def longest_rows(plan: Plan) -> list[LongestRow]:
    """One for each model that writes rows or learns from them, as far as its positions can be known before anything
    runs."""
    longest: dict[str, LongestRow] = {}
    for step in plan.steps:
        for field, tokens in _rows(plan, step):
            known = _positions(plan, step.input(field))
            if known is None:
                continue
            model, most, why = known
            if model not in longest or tokens > longest[model].tokens:
                longest[model] = LongestRow(model, step.name, tokens, most, why, field == step.config.generator)
    return list(longest.values())


def _rows(plan: Plan, step: PlannedStep) -> Iterator[tuple[str, int]]:
    """(field, tokens of the longest row) of each model that a step writes with, trains or asks."""
    inputs, generator = {entry.field: entry for entry in step.inputs}, step.config.generator
    prompt, completion = step.config.lengths()
    # An evaluation's prompts are not bounded by its configuration: only what it writes is known.
    tokens = completion + (0 if isinstance(step.config, Evaluation) else prompt)
    if generator is not None:
        yield generator, tokens
    read = inputs["rollouts"].step if "rollouts" in inputs else None
    tokens = max(tokens, sum(plan.step(read).config.lengths()) if read is not None else 0)
    if read is not None or generator in WRITERS:
        yield from ((field, tokens) for field in WRITERS if field in inputs)


def _positions(plan: Plan, entry: PlannedInput) -> tuple[str, int | None, str] | None:
    """(name, positions, what bounds them) of the model that an input goes back to; training does not change them."""
    for model in _ancestry(plan, entry):
        folder = _folder_of(plan, model)
        if folder is not None and (folder / "config.json").is_file():
            return model.step or folder.name, positions(folder), why_no_longer(folder)
    *_, oldest = _ancestry(plan, entry)
    if oldest.step is not None:
        size: Any = getattr(plan.step(oldest.step).config, "architecture", None)
        if (most := getattr(size, "max_positions", None)) is not None:
            return oldest.step, most, ""
    return None


def check_distillations(plan: Plan) -> None:
    """Raises IncompatibleModels, naming the first difference, for the first distillation that cannot work.

    Models that are not on this machine yet are compared once they are.
    """
    for step in plan.steps:
        inputs = {entry.field: entry for entry in step.inputs}
        if not {"policy", "teacher"} <= inputs.keys():
            continue
        student, teacher = inputs["policy"], inputs["teacher"]
        ours, theirs = (_vocabulary(plan, entry) for entry in (student, teacher))
        if ours is not None and theirs is not None:
            for field in dict.fromkeys((*ours, *theirs)):
                if ours.get(field) != theirs.get(field):
                    raise IncompatibleModels(
                        f"steps.{step.name}: student and teacher cannot share a distillation: their base models differ "
                        f"in {field}: {ours.get(field)!r} in the student, {theirs.get(field)!r} in the teacher",
                        remedy=f"give the steps that make them the same {', '.join(ours)}",
                    )
            continue
        our_folder, their_folder = (_folder(plan, entry) for entry in (student, teacher))
        if our_folder is not None and their_folder is not None:
            check_compatible(our_folder, their_folder, plan.recipe.prompt)


def _ancestry(plan: Plan, entry: PlannedInput) -> Iterator[PlannedInput]:
    """The model and the policies it comes from, youngest first."""
    yield entry
    if entry.step is not None:
        for start in plan.step(entry.step).inputs:
            if start.field == "policy":
                yield from _ancestry(plan, start)


def _vocabulary(plan: Plan, entry: PlannedInput) -> dict[str, object] | None:
    """What decides the vocabulary of a model that a step of this recipe makes; None where it begins outside."""
    *_, oldest = _ancestry(plan, entry)
    return plan.step(oldest.step).config.vocabulary() if oldest.step is not None else None


def _folder(plan: Plan, entry: PlannedInput) -> Path | None:
    """The nearest folder on this machine that has the model's tokenizer; training does not change it."""
    return next((folder for model in _ancestry(plan, entry) if (folder := _folder_of(plan, model)) is not None), None)


def _folder_of(plan: Plan, model: PlannedInput) -> Path | None:
    """The folder of just this model; None where it is not made, or not fetched, yet."""
    if model.step is not None:
        artifact = plan.step(model.step).artifact
        return artifact.folder if artifact is not None else None
    if model.artifact is not None:
        return plan.registry.folder / model.artifact
    return outside_folder(model.reference, plan.recipe.folder) or _snapshot(plan.pins.model(model.reference))
