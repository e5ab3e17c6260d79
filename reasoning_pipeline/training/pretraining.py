"""Training in plain PyTorch, for models so small that a trainer would be in the way: batches, one update, resume
points, and what is published."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy

from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.training.batches import IGNORED
from reasoning_pipeline.training.resume import complete, last_complete

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Batch = tuple[torch.Tensor, torch.Tensor]
"""(input ids, labels), both [B, L]; labels hold IGNORED where nothing is learned."""


def batches(rows: Iterator[tuple[list[int], list[int]]], size: int, *, pad: int, skip: int) -> Iterator[Batch]:
    """As long as there are rows of (ids that are read, ids that are learned).

    Args:
        skip: Batches that a resumed step has learned from already.
    """
    source = itertools.islice(rows, skip * size, None)
    while batch := list(itertools.islice(source, size)):
        length = max(len(prompt) + len(answer) for prompt, answer in batch)
        input_ids = torch.full((len(batch), length), pad)
        labels = torch.full((len(batch), length), IGNORED)
        for row, (prompt, answer) in enumerate(batch):
            input_ids[row, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
            labels[row, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
        yield input_ids, labels


def update(model: PreTrainedModel, optimizer: torch.optim.Optimizer, batch: Batch, rate: float) -> float:
    """One optimizer step; the mean loss over the batch's learned tokens, in nats."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    input_ids, labels = batch
    logits = model(input_ids=input_ids).logits[:, :-1]
    loss = cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def save_point(
    context: StageContext,
    step: int,
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    progress: dict[str, Any],
) -> None:
    """No random state: initialisation alone draws from it, and the corpus is skipped forward."""
    point = context.work / "checkpoints" / f"checkpoint-{step}"
    shutil.rmtree(point, ignore_errors=True)
    point.mkdir(parents=True)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "progress": progress}
    torch.save(state, point / "state.pt")
    complete(point)


def restore(context: StageContext, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Continue from the last whole resume point; its `progress`, empty where there is none."""
    point = last_complete(context.work / "checkpoints")
    if point is None:
        return {}
    state = torch.load(point / "state.pt", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    progress: dict[str, Any] = state["progress"]
    return progress


def finished(context: StageContext, folder: Path, model: PreTrainedModel, result: dict[str, Any]) -> StageOutcome:
    """The folder to publish: beside its tokenizer the weights, the probe that proves them, and the step's metrics."""
    from accelerate import Accelerator

    from reasoning_pipeline.rollouts.weights.proof import local_probe

    model.save_pretrained(folder)
    local_probe(model, Accelerator(cpu=context.profile.device == "cpu")).save(folder)
    context.copy_metrics(folder)
    return StageOutcome(folder, result)
