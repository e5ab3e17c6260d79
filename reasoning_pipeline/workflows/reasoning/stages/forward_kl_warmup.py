"""Stage 2a: the student learns the RL'd teacher's rollouts against the teacher's whole next-token distribution.

Loss: mean over completion tokens of KL(teacher || student) on rollouts that the teacher wrote once and that are
published as an artifact (arXiv 2605.12483, Eq. 5). No label is used. What of the divergence is exact depends on where
the hardware profile places the teacher, and is written into the checkpoint's record:

    teacher: trainer   exact over the vocabulary; recomputed from the cached token ids, tile by tile, so that no
                       [tokens, vocabulary] tensor exists
    teacher: server    over its `teacher_top_k` best words and one outcome for all others: a lower bound, exact with
                       the whole vocabulary. 0: log p - log q of the written token alone, an unbiased estimate
    teacher: cached    the same from the words stored with the rollouts (`top_k` of the teacher_rollouts step); the
                       teacher is never loaded

Try it: python -m reasoning_pipeline run recipes/smoke/forward_kl_warmup.yaml
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.recipe.fields import Optimization
from reasoning_pipeline.recipe.stage import ModelRef, RolloutsRef, StageConfig
from reasoning_pipeline.recipe.work import Known, Work, work_on_rollouts
from reasoning_pipeline.workflows.reasoning.fields import Until

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext, StageOutcome


class Config(StageConfig, Optimization):
    title: ClassVar[str] = "Stage 2a"
    metric_titles: ClassVar[dict[str, str]] = {"kl": "KL(teacher ‖ student), nats per token"}
    followed: ClassVar[tuple[str, ...]] = ("kl", "top_k_overlap")

    stage: Literal["forward_kl_warmup"] = "forward_kl_warmup"
    policy: ModelRef
    """The student."""
    teacher: ModelRef
    """Whose distribution is learnt: the model that wrote the rollouts."""
    rollouts: RolloutsRef
    """A rollout set that this teacher wrote; another writer is refused."""
    rollouts_per_step: int = Field(64, ge=1)
    """Rollouts in the global batch of one optimizer step."""
    temperature: float = Field(1.0, gt=0)
    """Softmax temperature of both distributions inside the divergence."""
    until: Until | None = None
    """With it, `steps` (or `epochs`) is the most that is done; needs `schedule: constant`."""

    @property
    def generator(self) -> str | None:
        """The student writes only where it is looked at."""
        return "policy" if self.until is not None else None

    @model_validator(mode="after")
    def _rate_stays(self) -> Self:
        if self.until is not None and self.schedule != "constant":
            raise ValueError(
                "`until` needs `schedule: constant`: a rate that falls over the budget would end in mid-fall"
            )
        return self

    def work(self, known: Known) -> Work:
        return work_on_rollouts(self, known, teacher="teacher")


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes the student after the last step, or as soon as it is near enough to the teacher."""
    from reasoning_pipeline.training.distillation import train_with_teacher
    from reasoning_pipeline.workflows.reasoning.until import DistanceWatch

    trainer = make_trainer(config, context)
    if config.until is not None:
        trainer.companions = [DistanceWatch(config.until, context, trainer, temperature=config.temperature)]
        trainer.overlap_every = None  # the watch tells it, of rollouts that the student has just written
    return train_with_teacher(trainer, context)


def make_trainer(config: Config, context: StageContext) -> Any:
    """The teacher's rollouts in their order, the teacher, the divergence."""
    from reasoning_pipeline.models.compatible import check_compatible
    from reasoning_pipeline.training.batches import read_rollouts, repeat_in_epochs, rollout_lengths, steps_for
    from reasoning_pipeline.training.distillation import distillation_trainer, refuse_temperature, server_teacher
    from reasoning_pipeline.training.teachers import CachedTeacher, Teacher

    check_compatible(context.inputs["policy"], context.inputs["teacher"], context.prompt)
    # What the teacher wrote, in the order in which it is learned from.
    rollouts = read_rollouts(context.inputs["rollouts"])
    check_writer(context.inputs["rollouts"], context.inputs["teacher"])
    steps = steps_for(config, len(rollouts), config.rollouts_per_step)
    rows = [
        {"prompt": "", "prompt_ids": row["prompt_ids"], "completion_ids": row["completion_ids"]}
        for row in repeat_in_epochs(rollouts, steps * config.rollouts_per_step, context.seed)
    ]

    # None: the teacher's weights come into the trainer, which recomputes its distributions from the token ids.
    teacher: Teacher | None = None
    if context.profile.teacher == "server":
        teacher = server_teacher(context, config.temperature)
    elif context.profile.teacher == "cached":
        refuse_temperature(config.temperature, "cached")
        teacher = CachedTeacher(context.inputs["rollouts"], rollouts, context.profile.teacher_top_k)
    return distillation_trainer(
        config,
        context,
        rows,
        lengths=rollout_lengths(rollouts),
        direction="forward",
        teacher=teacher,
        steps=steps,
        own_rollouts=False,
    )


def check_writer(rollouts: Path, teacher: Path) -> None:
    """The warmup's teacher must be the one that wrote the rollouts."""
    from reasoning_pipeline.registry.record import RECORD, read_record

    if not (rollouts / RECORD).is_file() or not (teacher / RECORD).is_file():
        return
    writer = read_record(rollouts).inputs["teacher"].fingerprint
    named = read_record(teacher).fingerprint
    if writer != named:
        raise PipelineError(
            f"the rollout set {rollouts.name} was written by {writer[:16]}…, the step's teacher is {named[:16]}…",
            remedy="point `rollouts` at the set this teacher wrote, or `teacher` at its writer",
        )
