"""Rows that are there: hard labels (SFT) and pairs (DPO)."""

from __future__ import annotations

from typing import Any

import torch
from trl import DPOConfig, DPOTrainer, SFTConfig
from trl import SFTTrainer as TRLSFTTrainer

from reasoning_pipeline.training.batches import IGNORED
from reasoning_pipeline.training.in_passes import Pass
from reasoning_pipeline.training.packing import check_kept_apart
from reasoning_pipeline.training.rows import Row
from reasoning_pipeline.training.trl_bridge.trainer import Placed, Trained

__all__ = ["DPOConfig", "PreferenceTrainer", "SFTConfig", "SFTTrainer"]


class SFTTrainer(Trained, TRLSFTTrainer):
    """Hard labels: rows of `input_ids` and `labels`, the prompt's tokens IGNORED."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, data_collator=list, **kwargs)

    def _own_rows(self, inputs: list[dict[str, Any]]) -> tuple[list[Row], dict[str, Any]]:
        rows = []
        for row in inputs:
            prompt = sum(label == IGNORED for label in row["labels"])
            rows.append(Row(row["input_ids"][:prompt], row["input_ids"][prompt:]))
        counted = [[len(row.completion_ids), row.length] for row in rows]
        learned, seen = self.accelerator.reduce(torch.tensor(counted, device=self.accelerator.device).sum(0), "sum")
        self.state.num_input_tokens_seen += int(seen)  # as TRL's trainers that generate do
        return rows, {"num_items_in_batch": learned}

    def _loss_inputs(self, part: Pass, like: Row) -> dict[str, Any]:
        labels = part.packed.shift_labels if part.rows else torch.full_like(part.packed.input_ids, IGNORED)
        ids = {"input_ids": part.packed.input_ids, "position_ids": part.packed.position_ids, "shift_labels": labels}
        return ids | part.packed.attention

    def compute_loss(self, model: Any, inputs: Any, return_outputs: Any = False, num_items_in_batch: Any = None) -> Any:
        inputs = {name: value for name, value in inputs.items() if name != "num_items_in_batch"}
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if self._pass is not None:
            check_kept_apart(self.model, self._pass.packed)
        return loss


class PreferenceTrainer(Placed, DPOTrainer):
    """Pairs that are token ids already, as PromptRenderer made them."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset
