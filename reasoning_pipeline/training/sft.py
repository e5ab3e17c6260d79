"""The hard-label control: next-token likelihood of the teacher's rollouts, prompt tokens masked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasoning_pipeline.models.loading import load_model, load_tokenizer
from reasoning_pipeline.training.arguments import batch_arguments, common_arguments
from reasoning_pipeline.training.batches import read_rollouts, repeat_in_epochs, steps_for
from reasoning_pipeline.training.lora import adapters
from reasoning_pipeline.training.trl_bridge import SFTConfig, SFTTrainer

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext
    from reasoning_pipeline.workflows.reasoning.stages import teacher_sft

IGNORED = -100
"""Label of tokens that no loss is taken at."""


def sft_trainer(config: teacher_sft.Config, context: StageContext) -> SFTTrainer:
    from datasets import Dataset

    rollouts = read_rollouts(context.inputs["rollouts"])
    steps = steps_for(config, len(rollouts), config.rollouts_per_step)
    rows = [
        {
            "input_ids": row["prompt_ids"] + row["completion_ids"],
            "labels": [IGNORED] * len(row["prompt_ids"]) + row["completion_ids"],
        }
        for row in repeat_in_epochs(rollouts, steps * config.rollouts_per_step, context.seed)
    ]
    return SFTTrainer(
        model=load_model(context.inputs["policy"]),
        args=SFTConfig(
            **common_arguments(config, context, steps),
            **batch_arguments(config.rollouts_per_step, context),
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
            train_sampling_strategy="sequential",
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=load_tokenizer(context.inputs["policy"]),
        peft_config=adapters(config),
    )
