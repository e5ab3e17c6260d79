"""A batch as TRL's trainers hold it, padded tensors by name, and the same as single rows: what passes are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

_IDS = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")


@dataclass(frozen=True)
class Row:
    """One rollout, without padding, on the CPU: it may be trained on by another process than the one that got it."""

    prompt_ids: list[int]
    completion_ids: list[int]
    columns: dict[str, Any] = field(default_factory=dict)
    """What else the batch holds of it: a value, a tensor [T] of its completion tokens, or an object."""

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + len(self.completion_ids)


def rows_of(batch: dict[str, Any]) -> list[Row]:
    """Columns of the whole batch (tensors without dimensions) are left out."""
    unpadded = {
        part: [
            ids[kept].tolist()
            for ids, kept in zip(batch[f"{part}_ids"].cpu(), batch[f"{part}_mask"].cpu().bool(), strict=True)
        ]
        for part in ("prompt", "completion")
    }
    columns = {
        name: value.cpu() if isinstance(value, torch.Tensor) else value
        for name, value in batch.items()
        if name not in _IDS and not (isinstance(value, torch.Tensor) and value.ndim == 0)
    }
    rows = []
    for number, (prompt, completion) in enumerate(zip(unpadded["prompt"], unpadded["completion"], strict=True)):
        of_row = {name: value[number] for name, value in columns.items()}
        of_row = {
            name: value[: len(completion)].clone() if isinstance(value, torch.Tensor) and value.ndim else value
            for name, value in of_row.items()
        }
        rows.append(Row(prompt, completion, of_row))
    return rows


def padded(rows: Sequence[Row], count: int, like: Row, device: torch.device) -> dict[str, Any]:
    """The inverse, as TRL's GRPO wants it: [count, T], prompts padded on the left. Rows beyond those given are masked.

    Args:
        like: Any row of the batch: of which columns there are.
    """
    filled = [*rows, *[Row([], [])] * (count - len(rows))]

    def ids(part: str, side: str) -> tuple[torch.Tensor, torch.Tensor]:
        values = [torch.tensor(getattr(row, part), dtype=torch.long) for row in filled]
        masks = [torch.ones_like(value) for value in values]
        return tuple(pad_sequence(each, batch_first=True, padding_side=side).to(device) for each in (values, masks))  # type: ignore[return-value]

    batch: dict[str, Any] = {}
    batch["prompt_ids"], batch["prompt_mask"] = ids("prompt_ids", "left")
    batch["completion_ids"], batch["completion_mask"] = ids("completion_ids", "right")
    for name, example in like.columns.items():
        values = [row.columns.get(name) for row in filled]
        if not isinstance(example, torch.Tensor):
            batch[name] = values[: len(rows)]
        elif example.ndim:
            empty = example.new_zeros(0)
            tensors = [empty if value is None else value for value in values]
            batch[name] = pad_sequence(tensors, batch_first=True).to(device)
        else:
            empty = example.new_zeros(())
            batch[name] = torch.stack([empty if value is None else value for value in values]).to(device)
    return batch
