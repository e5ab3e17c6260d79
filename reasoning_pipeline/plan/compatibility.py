"""Before anything runs: may the models of each distillation meet?

A teacher and a student that do not share their vocabulary would only be noticed after the teacher's reinforcement
learning, hours in. So each model is traced back to where it comes from, and those two are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.models.compatible import check_compatible
from reasoning_pipeline.plan.graph import Plan, PlannedInput
from reasoning_pipeline.plan.planner import external_folder
from reasoning_pipeline.workflows.reasoning.stages.pretrain import Config as Pretrain


def check_distillations(plan: Plan) -> None:
    """Raises IncompatibleModels, naming the first difference, for the first distillation that cannot work.

    Hub models that are not on this machine yet are compared when their step starts.
    """
    for step in plan.steps:
        inputs = {entry.field: entry for entry in step.inputs}
        if not {"policy", "teacher"} <= inputs.keys():
            continue
        student, teacher = inputs["policy"], inputs["teacher"]
        ours, theirs = (_pretrained(plan, entry) for entry in (student, teacher))
        if ours is not None and theirs is not None:
            for field in ("corpus", "data", "vocabulary_size"):
                values = getattr(ours, field), getattr(theirs, field)
                if values[0] != values[1]:
                    raise IncompatibleModels(
                        f"steps.{step.name}: student and teacher cannot share a distillation: their base models differ "
                        f"in {field}: {values[0]!r} in the student, {values[1]!r} in the teacher",
                        remedy="give both pretrain steps the same corpus, data and vocabulary_size",
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


def _pretrained(plan: Plan, entry: PlannedInput) -> Pretrain | None:
    """The pretrain step where a model begins, or None where it begins outside this recipe."""
    *_, oldest = _ancestry(plan, entry)
    config = plan.step(oldest.step).config if oldest.step is not None else None
    return config if isinstance(config, Pretrain) else None


def _folder(plan: Plan, entry: PlannedInput) -> Path | None:
    """The nearest folder on this machine that has the model's tokenizer; training does not change it."""
    for model in _ancestry(plan, entry):
        if model.step is None:
            return external_folder(model.reference, plan.recipe)
        if (artifact := plan.step(model.step).artifact) is not None:
            return artifact.folder
    return None
