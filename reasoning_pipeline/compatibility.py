"""Before anything runs: may the models of each distillation meet?

A teacher and a student that do not share their vocabulary would only be noticed after the teacher's reinforcement
learning, hours in. So each model is traced back to where it comes from, and those two are compared.
"""

from __future__ import annotations

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
        ours, theirs = (_origin(plan, reference) for reference in (student, teacher))
        if isinstance(ours, Pretrain) and isinstance(theirs, Pretrain):
            for field in ("corpus", "data", "vocabulary_size"):
                values = getattr(ours, field), getattr(theirs, field)
                if values[0] != values[1]:
                    raise IncompatibleModels(
                        f"steps.{name}: student and teacher cannot share a distillation: their base models differ in "
                        f"{field}: {values[0]!r} in the student, {values[1]!r} in the teacher",
                        remedy="give both pretrain steps the same corpus, data and vocabulary_size",
                    )
        elif isinstance(ours, Path) and isinstance(theirs, Path):
            check_compatible(ours, theirs, plan.recipe.prompt)


def _origin(plan: Plan, reference: str) -> Pretrain | Path | None:
    """Where a model's tokenizer comes from: a pretrain step, a folder, or None where that is not known yet."""
    while reference.startswith(STEP):
        name = reference.removeprefix(STEP)
        artifact = plan.step(name).artifact
        if artifact is not None:
            return artifact.folder
        config = plan.recipe.steps[name]
        if isinstance(config, Pretrain):
            return config
        reference = getattr(config, "policy", "")
    return external_folder(reference, plan.recipe)
