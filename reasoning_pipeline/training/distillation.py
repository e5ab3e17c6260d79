"""What both distillations share: TRL's trainer, with the teacher in one of three places (hardware profile, `teacher`).

trainer   its weights are here: the exact divergence over the whole vocabulary, tile by tile
server    asked for its K best words (`teacher_top_k`) at each position, scored as rollouts finish
cached    the K best words stored with the rollouts; where the student writes, its states could not be stored, and
          the teacher is in the trainer
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.beside import PIPELINE
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.models.loading import load_tokenizer
from reasoning_pipeline.rollouts.weights.push import load_folder
from reasoning_pipeline.training.arguments import batch_arguments, common_arguments, pass_limit
from reasoning_pipeline.training.divergence import Direction
from reasoning_pipeline.training.loop import train
from reasoning_pipeline.training.lora import adapters
from reasoning_pipeline.training.sharding import load_for_training
from reasoning_pipeline.training.teachers import ServerTeacher, Teacher
from reasoning_pipeline.training.trl_bridge.distillation import (
    BETA,
    CachedRolloutsTrainer,
    DistillationConfig,
    OnPolicyTrainer,
)
from reasoning_pipeline.training.trl_bridge.scored import (
    ScoredCachedRolloutsTrainer,
    ScoredOnPolicyTrainer,
    score_with,
)

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext, StageOutcome


def distillation_trainer(
    config: Any,
    context: StageContext,
    rows: list[dict[str, Any]],
    *,
    lengths: list[tuple[str, int]],
    direction: Direction,
    teacher: Teacher | None,
    steps: int,
    own_rollouts: bool,
    **sampling: Any,
) -> Any:
    """A trainer of the policy towards its teacher.

    Args:
        config: Has Optimization's fields, `rollouts_per_step` and `temperature`.
        rows: What is trained on, in order: rendered prompts, or `prompt_ids` and `completion_ids`.
        lengths: Of these rows, as `pass_limit` wants them.
        direction: `reverse` is KL(student || teacher), `forward` KL(teacher || student).
        teacher: One that is not here; None loads the teacher's weights into the trainer.
        own_rollouts: Whether the student writes the completions (`generate_with`), or the rows hold them.
        sampling: More of TRL's arguments, for a student that writes.
    """
    from datasets import Dataset

    if own_rollouts:
        kind: Any = OnPolicyTrainer if teacher is None else ScoredOnPolicyTrainer
    else:
        kind = CachedRolloutsTrainer if teacher is None else ScoredCachedRolloutsTrainer
    limit = pass_limit(context, lengths)
    policy, frozen = context.inputs["policy"], context.inputs["teacher"]
    arguments = DistillationConfig(
        **common_arguments(config, context, steps),
        **batch_arguments(config.rollouts_per_step, context),
        **sampling,
        shuffle_dataset=False,
        beta=BETA[direction],
        temperature=config.temperature,
    )
    trainer = kind(
        model=load_for_training(policy),
        teacher_model=load_for_training(frozen, dtype=context.profile.precision) if teacher is None else None,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=load_tokenizer(policy),
        peft_config=adapters(config),
    )
    trainer.limit = limit
    if teacher is not None:
        score_with(trainer, teacher, direction)
    if isinstance(teacher, ServerTeacher):
        # Once, with proof; nothing is pushed to this server afterwards, and its answers name what they come from.
        if trainer.accelerator.is_main_process:
            load_folder(teacher.client, frozen, teacher.version, context.profile.precision)
        trainer.accelerator.wait_for_everyone()
    return trainer


def server_teacher(context: StageContext, temperature: float) -> ServerTeacher:
    """The teacher on the server that the runner keeps for it."""
    refuse_temperature(temperature, "server")
    if context.teacher_client is None:
        raise PipelineError(
            "the profile says `teacher: server`, but this step was given no teacher's server",
            remedy=f"start it with `{PIPELINE} run`, or set `teacher: trainer`",
        )
    return ServerTeacher(
        context.teacher_client, version=context.inputs["teacher"].name, top_k=context.profile.teacher_top_k
    )


def refuse_temperature(temperature: float, placement: str) -> None:
    """Raises PipelineError for any but 1, where the teacher's weights are not here."""
    if temperature != 1.0:
        raise PipelineError(
            f"temperature: {temperature} with `teacher: {placement}`: the scores are those of temperature 1, and a few "
            "log-probabilities cannot be brought to another",
            remedy="set temperature: 1.0 in the step, or `teacher: trainer` in the hardware profile",
        )


def train_with_teacher(trainer: Any, context: StageContext) -> StageOutcome:
    """Train, and record what of the divergence was exact."""
    outcome = train(trainer, context)
    return replace(outcome, result={**outcome.result, "teacher": teacher_in_words(trainer)})


def teacher_in_words(trainer: Any) -> dict[str, Any]:
    """For the record of the checkpoint.

    Example: {"placement": "server", "top_k": 64, "divergence": "coarsened to 65 outcomes, a lower bound"}
    """
    teacher: Teacher | None = getattr(trainer, "teacher", None)
    if teacher is None:
        return {"placement": "trainer", "divergence": "exact over the vocabulary"}
    vocabulary = trainer.model.config.get_text_config().vocab_size
    if teacher.top_k == 0:
        divergence = "estimated from the sampled token"
    elif teacher.top_k < vocabulary:
        divergence = f"coarsened to {teacher.top_k + 1} outcomes, a lower bound"
    else:
        divergence = "exact over the vocabulary"
    placement = "server" if isinstance(teacher, ServerTeacher) else "cached"
    return {"placement": placement, "top_k": teacher.top_k, "divergence": divergence}
