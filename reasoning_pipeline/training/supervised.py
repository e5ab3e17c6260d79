"""Supervised fine-tuning with TRL's trainer: rows of a prompt that is read and a completion that is learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from datasets import Dataset

from reasoning_pipeline.models.loading import load_tokenizer
from reasoning_pipeline.training.arguments import batch_arguments, common_arguments, pass_limit
from reasoning_pipeline.training.batches import IGNORED, repeat_in_epochs
from reasoning_pipeline.training.lora import adapters
from reasoning_pipeline.training.sharding import load_for_training
from reasoning_pipeline.training.trl_bridge.supervised import SFTConfig, SFTTrainer

if TYPE_CHECKING:
    from reasoning_pipeline.recipe.fields import Optimization
    from reasoning_pipeline.run.context import StageContext


def sft_trainer(
    config: Optimization,
    context: StageContext,
    pairs: list[tuple[list[int], list[int]]],
    *,
    lengths: Sequence[tuple[str, int]],
    rows_per_step: int,
    steps: int,
) -> Any:
    """A trainer on the step's policy. Loss: the mean over completion tokens of their negative log-likelihood.

    Args:
        pairs: Token ids of prompt and completion, each pair once; the seed puts them in order, epoch by epoch.
        lengths: As `pass_limit` takes them.
        rows_per_step: The global batch.
    """
    rows = [
        {"input_ids": prompt + completion, "labels": [IGNORED] * len(prompt) + completion}
        for prompt, completion in repeat_in_epochs(pairs, steps * rows_per_step, context.seed)
    ]
    limit = pass_limit(context, lengths)
    arguments = SFTConfig(
        **common_arguments(config, context, steps),
        **batch_arguments(rows_per_step, context),
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        train_sampling_strategy="sequential",
    )
    trainer = SFTTrainer(
        model=load_for_training(context.inputs["policy"]),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=load_tokenizer(context.inputs["policy"]),
        peft_config=adapters(config),
    )
    trainer.limit = limit
    return trainer
