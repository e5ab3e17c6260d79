"""Many small trainings in one step: an adapter from a few dozen rows, each of its epochs kept, resumed where it was.

TRL's trainers do the training; the base model is read anew for each adapter and never written. One process: these are
minutes of work, and what they need is a choice between epochs, not speed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.errors import Stopped
from reasoning_pipeline.models.loading import load_tokenizer
from reasoning_pipeline.models.weights import ADAPTER
from reasoning_pipeline.recipe.fields import Optimization
from reasoning_pipeline.run.context import StageContext
from reasoning_pipeline.training.arguments import batch_arguments, common_arguments
from reasoning_pipeline.training.batches import IGNORED, repeat_in_epochs
from reasoning_pipeline.training.lora import adapters
from reasoning_pipeline.training.resume import complete, last_complete
from reasoning_pipeline.training.sharding import load_for_training
from reasoning_pipeline.training.trl_bridge.supervised import DPOConfig, PreferenceTrainer, SFTConfig, SFTTrainer

DONE = "trained.json"
ADAPTER_FILES = (ADAPTER, "adapter_model.safetensors")


@dataclass(frozen=True, kw_only=True)
class Preference:
    """TRL's mixed loss on pairs: `loss_type` list with weights; the reference is the model with its adapter off."""

    losses: tuple[str, ...] = ("sigmoid", "sft")
    weights: tuple[float, ...] = (0.5, 0.5)
    beta: float = 0.1


def train_adapter(
    config: Optimization,
    context: StageContext,
    rows: Sequence[dict[str, list[int]]],
    folder: Path,
    *,
    rows_per_step: int,
    max_length: int,
    preference: Preference | None = None,
) -> dict[int, Path]:
    """Epoch -> folder of the step's `policy` adapter after it. What an interrupted run finished is not trained again.

    Args:
        rows: `prompt_ids`, `chosen_ids`, `rejected_ids` under a preference; else `prompt_ids`, `completion_ids`.
        folder: Of this adapter alone: its epochs, and while it is trained its resume points.
        rows_per_step: Global batch; all rows where there are fewer.

    Raises:
        Stopped: After a resume point, when a stop was asked for.
    """
    assert config.epochs is not None
    epochs = int(config.epochs)
    found = {epoch: folder / f"epoch-{epoch}" for epoch in range(1, epochs + 1)}
    if (folder / DONE).is_file():
        return found
    size = min(rows_per_step, len(rows))
    ends = {-(-epoch * len(rows) // size): epoch for epoch in range(1, epochs + 1)}
    steps = max(ends)
    ordered = repeat_in_epochs(list(rows), steps * size, context.seed)
    points = folder / "points"
    trainer = _trainer(config, context, ordered, points, steps, size, max_length, preference)
    keeper = _Keeper(context, folder, ends)
    trainer.add_callback(keeper)
    resume = last_complete(points)
    result = trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    if keeper.stopped:
        raise Stopped(f"{context.label} stopped in {folder.name}", remedy="run again to continue")
    write_json(folder / DONE, {"rows": len(rows), "steps": steps, "loss": round(float(result.training_loss), 6)})
    shutil.rmtree(points, ignore_errors=True)
    return found


def _trainer(
    config: Optimization,
    context: StageContext,
    rows: list[dict[str, list[int]]],
    points: Path,
    steps: int,
    size: int,
    max_length: int,
    preference: Preference | None,
) -> Any:
    folder = context.inputs["policy"]
    shared: dict[str, Any] = {
        **common_arguments(config, context, steps),
        **batch_arguments(size, context, what="rows_per_step"),
        "output_dir": str(points),
        "save_strategy": "no",  # after each epoch, when _Keeper says so
        "remove_unused_columns": False,
        "train_sampling_strategy": "sequential",
        "logging_strategy": "no",
    }
    made: dict[str, Any] = {
        "model": load_for_training(folder),
        "processing_class": load_tokenizer(folder),
        "peft_config": adapters(config),
    }
    if preference is None:
        kept = [_labelled(row, max_length) for row in rows]
        arguments: Any = SFTConfig(**shared, max_length=None, dataset_kwargs={"skip_prepare_dataset": True})
        return SFTTrainer(**made, args=arguments, train_dataset=Dataset.from_list(kept))
    arguments = DPOConfig(
        **shared,
        max_length=max_length,
        beta=preference.beta,
        loss_type=list(preference.losses),
        loss_weights=list(preference.weights),
    )
    return PreferenceTrainer(**made, args=arguments, train_dataset=Dataset.from_list(rows))


def _labelled(row: dict[str, list[int]], max_length: int) -> dict[str, list[int]]:
    prompt, completion = row["prompt_ids"], row["completion_ids"]
    return {
        "input_ids": (prompt + completion)[:max_length],
        "labels": ([IGNORED] * len(prompt) + completion)[:max_length],
    }


class _Keeper(TrainerCallback):
    """Keeps the adapter of each epoch, completes resume points, stops on request."""

    def __init__(self, context: StageContext, folder: Path, ends: dict[int, int]) -> None:
        self.context, self.folder, self.ends = context, folder, ends
        self.stopped = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.context.should_stop() and state.global_step < state.max_steps:
            self.stopped = control.should_training_stop = True
        if state.global_step in self.ends or self.stopped:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        point = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if (epoch := self.ends.get(state.global_step)) is not None:
            self._keep(point, self.folder / f"epoch-{epoch}")
        complete(point)

    def _keep(self, point: Path, epoch: Path) -> None:
        made = epoch.with_name(f"{epoch.name}.aside")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        for name in ADAPTER_FILES:
            shutil.copyfile(point / name, made / name)
        values = json.loads((made / ADAPTER_FILES[0]).read_text(encoding="utf-8"))
        base = self.context.inputs["policy"].name  # in the place of a path: what the adapter belongs to
        write_json(made / ADAPTER_FILES[0], {**values, "base_model_name_or_path": base})
        shutil.rmtree(epoch, ignore_errors=True)
        made.rename(epoch)
