"""Before anything runs: may the models of each distillation meet?

A teacher and a student that do not share their vocabulary would only be noticed after the teacher's reinforcement
learning, hours in. So each model is traced back to where it comes from, and those two are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.plan import Plan, external_folder
from reasoning_pipeline.recipe import STEP
from reasoning_pipeline.stages.pretrain import Config as Pretrain
from reasoning_pipeline.training.models import check_compatible


def check_distillations(plan: Plan) -> None:
    """Raises IncompatibleModels, naming the first difference, for the first distillation that cannot work.

    Hub models that are not on this machine yet are compared when their step starts.
    """
    for name, config in plan.recipe.steps.items():
        teacher = getattr(config, "teacher", None)
        student = getattr(config, "policy", None)
        if teacher is None or student is None:
            continue
        ours, theirs = (_pretrained(plan, reference) for reference in (student, teacher))
        if ours is not None and theirs is not None:
            for field in ("corpus", "data", "vocabulary_size"):
                values = getattr(ours, field), getattr(theirs, field)
                if values[0] != values[1]:
                    raise IncompatibleModels(
                        f"steps.{name}: student and teacher cannot share a distillation: their base models differ in "
                        f"{field}: {values[0]!r} in the student, {values[1]!r} in the teacher",
                        remedy="give both pretrain steps the same corpus, data and vocabulary_size",
                    )
            continue
        our_folder, their_folder = (_folder(plan, reference) for reference in (student, teacher))
        if our_folder is not None and their_folder is not None:
            check_compatible(our_folder, their_folder, plan.recipe.prompt)


def _ancestry(plan: Plan, reference: str) -> Iterator[str]:
    """The reference and the policies it comes from, youngest first."""
    while reference:
        yield reference
        if not reference.startswith(STEP):
            return
        reference = getattr(plan.recipe.steps[reference.removeprefix(STEP)], "policy", "")


def _pretrained(plan: Plan, reference: str) -> Pretrain | None:
    """The pretrain step where a model begins, or None where it begins outside this recipe."""
    *_, oldest = _ancestry(plan, reference)
    config = plan.recipe.steps.get(oldest.removeprefix(STEP)) if oldest.startswith(STEP) else None
    return config if isinstance(config, Pretrain) else None


def _folder(plan: Plan, reference: str) -> Path | None:
    """The nearest folder on this machine that has the model's tokenizer; training does not change it."""
    for name in _ancestry(plan, reference):
        if not name.startswith(STEP):
            return external_folder(name, plan.recipe)
        if (artifact := plan.step(name.removeprefix(STEP)).artifact) is not None:
            return artifact.folder
    return None
