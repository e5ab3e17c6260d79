"""The one file that knows TRL's insides (1.16). Stages ask it for a trainer; tests fail when TRL moves.

What it relies on, beyond the public API:
- both trainers generate through `vllm_generation.sync_weights()` and `.generate(...)` when `use_vllm` is true, and
  sync when `state.global_step != _last_loaded_step`; our engine stands in that place;
- `_tokenize_prompts` turns the `prompt` column into ids; ours renders nothing, the prompts come rendered;
- `DistillationTrainer._generate_single_turn` returns completion ids; for cached rollouts it returns those.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import trl.import_utils as trl_imports

# The trainer process never talks to vLLM's Python side; importing it there would cost seconds and gigabytes.
trl_imports.is_vllm_available = lambda *args, **kwargs: False

from datasets import Dataset  # noqa: E402
from trl import DistillationConfig, DistillationTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer  # noqa: E402

from reasoning_pipeline.data.prompts import PromptRenderer  # noqa: E402
from reasoning_pipeline.errors import PipelineError  # noqa: E402
from reasoning_pipeline.hardware import accumulation  # noqa: E402
from reasoning_pipeline.jsonl import read_rows  # noqa: E402
from reasoning_pipeline.records import Decoding, Problem  # noqa: E402
from reasoning_pipeline.rollouts.engine import TrainerEngine  # noqa: E402
from reasoning_pipeline.rollouts.transformers_sampler import TransformersSampler  # noqa: E402
from reasoning_pipeline.rollouts.weight_sync import WeightPush  # noqa: E402
from reasoning_pipeline.training.batches import repeat_in_epochs, steps_for, within_length  # noqa: E402
from reasoning_pipeline.training.models import check_compatible, load_model, load_tokenizer  # noqa: E402
from reasoning_pipeline.training.reward import VerifiedReward, usable_references  # noqa: E402

if TYPE_CHECKING:
    from reasoning_pipeline.stage import GroupRelative, Optimization, Sampling
    from reasoning_pipeline.stages import forward_kl_warmup, on_policy_distillation, teacher_sft
    from reasoning_pipeline.training.context import StageContext

IGNORED = -100
"""Label of tokens that no loss is taken at."""

REVERSE_KL, FORWARD_KL = 1.0, 0.0
"""TRL's `beta`: 1 is KL(student || teacher), 0 is KL(teacher || student), exact over the vocabulary, in tiles."""


class _RenderedPrompts:
    """Takes prompts that data/prompts.py has rendered; adds no special token."""

    renderer: PromptRenderer

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        encoded = self.renderer.tokenizer.encode_batch(prompts, add_special_tokens=False)
        return [entry.ids for entry in encoded], None, {}


class _GRPOTrainer(_RenderedPrompts, GRPOTrainer):
    pass


class _OnPolicyTrainer(_RenderedPrompts, DistillationTrainer):
    pass


class _CachedRolloutsTrainer(DistillationTrainer):
    """Distillation on completions that are already there, with the same tiled divergence as on-policy."""

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._batch = inputs
        return super()._generate_and_score_completions(inputs)

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [row["prompt_ids"] for row in self._batch], None, {}

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> list[list[int]]:
        return [row["completion_ids"] for row in self._batch]


def grpo_trainer(config: GroupRelative, context: StageContext) -> GRPOTrainer:
    """Stages 1 and 3: group-relative policy optimisation against the verified 0/1 reward."""
    renderer = context.renderer("policy")
    problems = within_length(usable_references(context.problems), renderer, config.max_prompt_tokens)
    steps = steps_for(config, len(problems), config.problems_per_step)
    micro, passes = accumulation(
        context.profile, config.problems_per_step * config.group_size, what="problems_per_step x group_size"
    )
    arguments = GRPOConfig(
        **_common(config, context, steps),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=passes,
        num_generations=config.group_size,
        max_completion_length=config.max_completion_tokens,
        temperature=config.temperature,
        top_p=1.0,
        top_k=0,
        beta=config.kl_coefficient,
        epsilon=config.clip_ratio,
        loss_type=config.loss,
        scale_rewards=config.scale_advantages,
        vllm_importance_sampling_correction=config.correct_sampler_mismatch,
        vllm_importance_sampling_mode="token_truncate",
        vllm_importance_sampling_clip_max=2.0,
        shuffle_dataset=False,
    )
    reward = VerifiedReward(group_size=config.group_size, stop_ids=renderer.stop_ids)
    trainer = _GRPOTrainer(
        model=load_model(context.inputs["policy"]),
        args=arguments,
        train_dataset=_problem_rows(
            repeat_in_epochs(problems, steps * config.problems_per_step, context.seed), renderer
        ),
        reward_funcs=reward,
        processing_class=load_tokenizer(context.inputs["policy"]),
    )
    trainer.renderer = renderer
    return _generating(trainer, config, context, renderer)


def on_policy_distillation_trainer(config: on_policy_distillation.Config, context: StageContext) -> DistillationTrainer:
    """Stage 2b: reverse KL on the student's own rollouts."""
    check_compatible(context.inputs["policy"], context.inputs["teacher"], context.prompt)
    renderer = context.renderer("policy")
    problems = within_length(context.problems, renderer, config.max_prompt_tokens)
    prompts_per_step = config.rollouts_per_step // config.rollouts_per_prompt
    steps = steps_for(config, len(problems), prompts_per_step)
    chosen = repeat_in_epochs(problems, steps * prompts_per_step, context.seed)
    rows = [problem for problem in chosen for _ in range(config.rollouts_per_prompt)]
    trainer = _OnPolicyTrainer(
        model=load_model(context.inputs["policy"]),
        teacher_model=load_model(context.inputs["teacher"], dtype=context.profile.precision),
        args=DistillationConfig(
            **_common(config, context, steps),
            **_distillation_batch(config.rollouts_per_step, context),
            beta=REVERSE_KL,
            temperature=config.temperature,
            top_p=1.0,
            top_k=0,
            max_completion_length=config.max_completion_tokens,
        ),
        train_dataset=_problem_rows(rows, renderer),
        processing_class=load_tokenizer(context.inputs["policy"]),
    )
    trainer.renderer = renderer
    return _generating(trainer, config, context, renderer)


def cached_distillation_trainer(config: forward_kl_warmup.Config, context: StageContext) -> DistillationTrainer:
    """Stage 2a: forward KL on the teacher's cached rollouts."""
    check_compatible(context.inputs["policy"], context.inputs["teacher"], context.prompt)
    rollouts = _read_rollouts(context.inputs["rollouts"])
    _check_writer(context.inputs["rollouts"], context.inputs["teacher"])
    steps = steps_for(config, len(rollouts), config.rollouts_per_step)
    return _CachedRolloutsTrainer(
        model=load_model(context.inputs["policy"]),
        teacher_model=load_model(context.inputs["teacher"], dtype=context.profile.precision),
        args=DistillationConfig(
            **_common(config, context, steps),
            **_distillation_batch(config.rollouts_per_step, context),
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
    )


def sft_trainer(config: teacher_sft.Config, context: StageContext) -> SFTTrainer:
    """The control: next-token likelihood of the teacher's rollouts, prompt tokens masked."""
    rollouts = _read_rollouts(context.inputs["rollouts"])
    steps = steps_for(config, len(rollouts), config.rollouts_per_step)
    rows = [
        {
            "input_ids": row["prompt_ids"] + row["completion_ids"],
            "labels": [IGNORED] * len(row["prompt_ids"]) + row["completion_ids"],
        }
        for row in repeat_in_epochs(rollouts, steps * config.rollouts_per_step, context.seed)
    ]
    micro, passes = accumulation(context.profile, config.rollouts_per_step, what="rollouts_per_step")
    return SFTTrainer(
        model=load_model(context.inputs["policy"]),
        args=SFTConfig(
            **_common(config, context, steps),
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=passes,
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
            train_sampling_strategy="sequential",
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=load_tokenizer(context.inputs["policy"]),
    )


def _common(config: Optimization, context: StageContext, steps: int) -> dict[str, Any]:
    """What every trainer's arguments share."""
    on_cpu, launched = context.profile.device == "cpu", context.profile.accelerate_config is not None
    schedule: dict[str, Any] = {"lr_scheduler_type": config.schedule}
    if config.schedule == "constant":
        schedule = {"lr_scheduler_type": "constant_with_warmup"}
    elif config.schedule == "cosine":
        schedule = {
            "lr_scheduler_type": "cosine_with_min_lr",
            "lr_scheduler_kwargs": {"min_lr_rate": config.final_learning_rate_ratio},
        }
    return {
        **schedule,
        "output_dir": str(context.work / "checkpoints"),
        "max_steps": steps,
        "learning_rate": config.learning_rate,
        "warmup_steps": round(config.warmup_ratio * steps),
        "weight_decay": config.weight_decay,
        "adam_beta1": config.adam_beta1,
        "adam_beta2": config.adam_beta2,
        "max_grad_norm": config.max_grad_norm,
        "seed": context.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": config.save_every,
        "save_total_limit": 2,
        "report_to": [],
        "disable_tqdm": True,
        "bf16": context.profile.precision == "bfloat16",
        # Behind a launcher `use_cpu` would switch DeepSpeed off in silence; without a GPU the CPU is taken anyway.
        # Without a backend accelerate counts one process, whatever the launcher started.
        "ddp_backend": "gloo" if on_cpu and launched else None,
        "use_cpu": on_cpu and not launched,
        "gradient_checkpointing": context.profile.gradient_checkpointing,
        "dataloader_pin_memory": context.profile.device == "cuda",
    }


def _distillation_batch(rollouts_per_step: int, context: StageContext) -> dict[str, Any]:
    micro, passes = accumulation(context.profile, rollouts_per_step, what="rollouts_per_step")
    return {
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": passes,
        "shuffle_dataset": False,
    }


def _problem_rows(problems: list[Problem], renderer: PromptRenderer) -> Dataset:
    """One row a problem, in training order: resuming then only needs to skip."""
    rendered = {problem.id: renderer.prompt(problem.question) for problem in problems}
    return Dataset.from_list(
        [{"prompt": rendered[p.id], "answer": p.answer, "question": p.question, "problem_id": p.id} for p in problems]
    )


def _generating(trainer: Any, config: Any, context: StageContext, renderer: PromptRenderer) -> Any:
    """Put our engine where TRL keeps its vLLM object."""
    sampling: Sampling = config
    if context.client is not None:
        assert context.transfer_folder is not None
        sampler: Any = context.client
        push = WeightPush(context.client, trainer.accelerator, context.transfer_folder, context.profile.precision)
    else:
        pad = load_tokenizer(context.inputs["policy"]).pad_token_id
        sampler, push = TransformersSampler(trainer.model, pad_id=pad), None
    engine = TrainerEngine(
        sampler,
        push,
        decoding=Decoding(
            temperature=sampling.temperature, max_tokens=sampling.max_completion_tokens, seed=context.seed
        ),
        stop_ids=renderer.stop_ids,
        label=context.label,
    )
    engine.trainer = trainer
    trainer.vllm_generation = engine
    trainer.use_vllm = True
    trainer._last_loaded_step = -1
    return trainer


def _read_rollouts(folder: Path) -> list[dict[str, Any]]:
    return read_rows(folder / "rollouts.jsonl")


def _check_writer(rollouts: Path, teacher: Path) -> None:
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
