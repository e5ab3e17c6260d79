"""What the arguments of all of TRL's trainers share, from the recipe's step and the hardware profile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.hardware.launcher import has_launcher, sharding_kind
from reasoning_pipeline.hardware.profile import accumulation
from reasoning_pipeline.training.passes import Limit

if TYPE_CHECKING:
    from reasoning_pipeline.recipe.fields import Optimization
    from reasoning_pipeline.run.context import StageContext

SHOWN_ROWS = 5
"""Of those that are too long for a pass, in the message."""


def common_arguments(config: Optimization, context: StageContext, steps: int) -> dict[str, Any]:
    """What every trainer's arguments share."""
    on_cpu, launched = context.profile.device == "cpu", has_launcher(context.profile)
    schedule: dict[str, Any] = {"lr_scheduler_type": config.schedule}
    if config.schedule == "constant":
        schedule = {"lr_scheduler_type": "constant_with_warmup"}
    elif config.schedule == "cosine":
        schedule = {
            "lr_scheduler_type": "cosine_with_min_lr",
            "lr_scheduler_kwargs": {"min_lr_rate": config.final_learning_rate_ratio},
        }
    sums: dict[str, Any] = {}
    if launched and sharding_kind(context.profile) == "FSDP":
        # Without it FSDP2 keeps every gradient whole, in the precision of the products, until the last pass of a step.
        sums["accelerator_config"] = {"gradient_accumulation_kwargs": {"sync_each_batch": True}}
    return {
        **schedule,
        **sums,
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
        "save_total_limit": None,  # resume.py removes old points; the trainer would do so before the new one is whole
        "report_to": [],
        "disable_tqdm": True,
        "bf16": context.profile.precision == "bfloat16",
        # `use_cpu` switches DeepSpeed off in silence; without it data parallel processes on CPUs train each for itself,
        # in silence too. Without a backend accelerate counts one process, whatever the launcher started.
        "ddp_backend": "gloo" if on_cpu and launched else None,
        "use_cpu": on_cpu and not (launched and sharding_kind(context.profile) == "DEEPSPEED"),
        "gradient_checkpointing": context.profile.gradient_checkpointing,
        "dataloader_pin_memory": context.profile.device == "cuda",
    }


def batch_arguments(
    rollouts_per_step: int, context: StageContext, *, what: str = "rollouts_per_step", whole: str | None = None
) -> dict[str, Any]:
    """The global batch of one optimizer step, divided over processes; `whole` says why it must not be divided. For the
    trainer it is one batch: its passes are ours (`pass_limit`)."""
    accumulation(context.profile, rollouts_per_step, what=what, whole=whole)
    share = rollouts_per_step // context.profile.processes
    return {"per_device_train_batch_size": share, "gradient_accumulation_steps": 1}


def pass_limit(context: StageContext, lengths: Sequence[tuple[str, int]]) -> Limit:
    """How much one forward and backward pass of a process may hold.

    Args:
        lengths: Of each row that will be trained on its name for messages, and the most tokens that it can have.

    Raises PipelineError for rows that are longer than a pass.
    """
    limit = Limit(rows=context.profile.micro_batch, tokens=context.profile.tokens_per_micro_batch)
    longer = [(name, length) for name, length in lengths if limit.tokens is not None and length > limit.tokens]
    if longer:
        shown = "".join(f"\n  {name}: {length:,} tokens" for name, length in longer[:SHOWN_ROWS])
        more = f"\n  and {len(longer) - SHOWN_ROWS} more" if len(longer) > SHOWN_ROWS else ""
        raise PipelineError(
            f"tokens_per_micro_batch: {len(longer)} of {len(lengths)} rows may be longer than a pass of "
            f"{limit.tokens:,} tokens{shown}{more}",
            remedy=f"set tokens_per_micro_batch to {max(length for _, length in longer)} or more in the hardware "
            "profile, or lower max_completion_tokens",
        )
    return limit
