"""Stages 2a and 2b: TRL's distillation trainer, with the teacher in one of three places (hardware profile, `teacher`).

trainer   its weights are here: the exact divergence over the whole vocabulary, tile by tile
server    asked for its K best words (`teacher_top_k`) at each position, scored as rollouts finish
cached    2a only: the K best words stored with the rollouts; 2b, whose states nobody could store, has the teacher
          in the trainer
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.models.compatible import check_compatible
from reasoning_pipeline.models.loading import load_model, load_tokenizer
from reasoning_pipeline.rollouts.weights.push import load_folder
from reasoning_pipeline.training.arguments import batch_arguments, common_arguments
from reasoning_pipeline.training.batches import read_rollouts, repeat_in_epochs, steps_for, within_length
from reasoning_pipeline.training.generating import engine_for, problem_rows
from reasoning_pipeline.training.lora import adapters
from reasoning_pipeline.training.teachers import CachedTeacher, ServerTeacher, Teacher
from reasoning_pipeline.training.trl_bridge import (
    FORWARD_KL,
    REVERSE_KL,
    CachedRolloutsTrainer,
    DistillationConfig,
    OnPolicyTrainer,
    ScoredCachedRolloutsTrainer,
    ScoredOnPolicyTrainer,
    generate_with,
    score_with,
)

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext, StageOutcome
    from reasoning_pipeline.workflows.reasoning.stages import forward_kl_warmup, on_policy_distillation


def on_policy_distillation_trainer(config: on_policy_distillation.Config, context: StageContext) -> Any:
    """Stage 2b: reverse KL on the student's own rollouts."""
    from datasets import Dataset

    check_compatible(context.inputs["policy"], context.inputs["teacher"], context.prompt)
    renderer = context.renderer("policy")
    problems = within_length(context.problems, renderer, config.max_prompt_tokens)
    prompts_per_step = config.rollouts_per_step // config.rollouts_per_prompt
    steps = steps_for(config, len(problems), prompts_per_step)
    chosen = repeat_in_epochs(problems, steps * prompts_per_step, context.seed)
    ordered = [problem for problem in chosen for _ in range(config.rollouts_per_prompt)]
    teacher = _server_teacher(context, config.temperature) if context.profile.teacher == "server" else None
    if teacher is not None and teacher.top_k == 0 and config.max_staleness:
        raise PipelineError(
            "teacher_top_k: 0 learns through the choice of the sampled tokens, which max_staleness: 1 leaves to an "
            "older student without correction",
            remedy="set teacher_top_k to 1 or more in the hardware profile, or max_staleness: 0 in the step",
        )
    trainer = (OnPolicyTrainer if teacher is None else ScoredOnPolicyTrainer)(
        model=load_model(context.inputs["policy"]),
        teacher_model=_weights(context) if teacher is None else None,
        args=DistillationConfig(
            **common_arguments(config, context, steps),
            **batch_arguments(config.rollouts_per_step, context),
            shuffle_dataset=False,
            beta=REVERSE_KL,
            temperature=config.temperature,
            top_p=1.0,
            top_k=0,
            max_completion_length=config.max_completion_tokens,
        ),
        train_dataset=Dataset.from_list(problem_rows(ordered, renderer)),
        processing_class=load_tokenizer(context.inputs["policy"]),
        peft_config=adapters(config),
    )
    if teacher is not None:
        score_with(trainer, teacher, "reverse")
        _load_teacher(trainer, teacher, context)
    engine = engine_for(
        trainer,
        config,
        context,
        renderer,
        problems=ordered,
        copies=1,
        rollouts_per_step=config.rollouts_per_step,
        on_group=None if teacher is None else teacher.begin,
    )
    return generate_with(trainer, engine, renderer)


def cached_distillation_trainer(config: forward_kl_warmup.Config, context: StageContext) -> Any:
    """Stage 2a: forward KL on the teacher's cached rollouts."""
    from datasets import Dataset

    check_compatible(context.inputs["policy"], context.inputs["teacher"], context.prompt)
    rollouts = read_rollouts(context.inputs["rollouts"])
    check_writer(context.inputs["rollouts"], context.inputs["teacher"])
    steps = steps_for(config, len(rollouts), config.rollouts_per_step)
    placement = context.profile.teacher
    teacher: Teacher | None = None
    if placement == "server":
        teacher = _server_teacher(context, config.temperature)
    elif placement == "cached":
        _refuse_temperature(config.temperature, placement)
        teacher = CachedTeacher(context.inputs["rollouts"], rollouts, context.profile.teacher_top_k)
    trainer = (CachedRolloutsTrainer if teacher is None else ScoredCachedRolloutsTrainer)(
        model=load_model(context.inputs["policy"]),
        teacher_model=_weights(context) if teacher is None else None,
        args=DistillationConfig(
            **common_arguments(config, context, steps),
            **batch_arguments(config.rollouts_per_step, context),
            shuffle_dataset=False,
            beta=FORWARD_KL,
            temperature=config.temperature,
        ),
        train_dataset=Dataset.from_list(
            [
                {"prompt": "", "prompt_ids": row["prompt_ids"], "completion_ids": row["completion_ids"]}
                for row in repeat_in_epochs(rollouts, steps * config.rollouts_per_step, context.seed)
            ]
        ),
        processing_class=load_tokenizer(context.inputs["policy"]),
        peft_config=adapters(config),
    )
    if teacher is not None:
        score_with(trainer, teacher, "forward")
        if isinstance(teacher, ServerTeacher):
            _load_teacher(trainer, teacher, context)
    return trainer


def train_with_teacher(trainer: Any, context: StageContext) -> StageOutcome:
    """Train, and record what of the divergence was exact."""
    outcome = context.train(trainer)
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


def _weights(context: StageContext) -> Any:
    return load_model(context.inputs["teacher"], dtype=context.profile.precision)


def _server_teacher(context: StageContext, temperature: float) -> ServerTeacher:
    _refuse_temperature(temperature, "server")
    if context.teacher_client is None:
        raise PipelineError(
            "the profile says `teacher: server`, but this step was given no teacher's server",
            remedy="start it with `python -m reasoning_pipeline run`, or set `teacher: trainer`",
        )
    return ServerTeacher(
        context.teacher_client, version=context.inputs["teacher"].name, top_k=context.profile.teacher_top_k
    )


def _load_teacher(trainer: Any, teacher: ServerTeacher, context: StageContext) -> None:
    """Once, with proof; nothing is pushed to this server afterwards, and its answers name what they come from."""
    if trainer.accelerator.is_main_process:
        load_folder(teacher.client, context.inputs["teacher"], teacher.version, context.profile.precision)
    trainer.accelerator.wait_for_everyone()


def _refuse_temperature(temperature: float, placement: str) -> None:
    if temperature != 1.0:
        raise PipelineError(
            f"temperature: {temperature} with `teacher: {placement}`: the scores are those of temperature 1, and a few "
            "log-probabilities cannot be brought to another",
            remedy="set temperature: 1.0 in the step, or `teacher: trainer` in the hardware profile",
        )


def check_writer(rollouts: Path, teacher: Path) -> None:
    """The warmup's teacher must be the one that wrote the rollouts."""
    from reasoning_pipeline.registry.store import RECORD, read_record

    if not (rollouts / RECORD).is_file() or not (teacher / RECORD).is_file():
        return
    writer = read_record(rollouts).inputs["teacher"].fingerprint
    named = read_record(teacher).fingerprint
    if writer != named:
        raise PipelineError(
            f"the rollout set {rollouts.name} was written by {writer[:16]}…, the step's teacher is {named[:16]}…",
            remedy="point `rollouts` at the set this teacher wrote, or `teacher` at its writer",
        )
