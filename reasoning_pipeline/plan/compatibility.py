"""Before anything runs: may the models of each distillation meet?

A teacher and a student that do not share their vocabulary would only be noticed after the teacher's reinforcement
learning, hours in. So each model is traced back to where it comes from, and those two are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.models.compatible import check_compatible
from reasoning_pipeline.models.outside import outside_folder
from reasoning_pipeline.plan.graph import Plan, PlannedInput


def check_distillations(plan: Plan) -> None:
    """Raises IncompatibleModels, naming the first difference, for the first distillation that cannot work.

    Hub models that are not on this machine yet are compared when their step starts.
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
    for model in _ancestry(plan, entry):
        if model.step is None:
            return outside_folder(model.reference, plan.recipe.folder)
        if (artifact := plan.step(model.step).artifact) is not None:
            return artifact.folder
    return None
