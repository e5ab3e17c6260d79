"""Training in plain PyTorch, for models so small that a trainer would be in the way: batches, one update, resume
points, and what is published."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from reasoning_pipeline.data.tokenizer_making import END, PAD
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.training.batches import IGNORED
from reasoning_pipeline.training.resume import complete, last_complete

if TYPE_CHECKING:
    from transformers import PreTrainedModel, Qwen3ForCausalLM

    from reasoning_pipeline.data.prompts import PromptRenderer
    from reasoning_pipeline.recipe.fields import Architecture

LINEAR_WARMUP_STEPS = 40
"""Optimizer steps over which the learning rate of a small model rises."""
ROUND_VOCABULARY_TO = 16

Batch = tuple[torch.Tensor, torch.Tensor]
"""(input ids, labels), both [B, L]; labels hold IGNORED where nothing is learned."""


def small_model(size: Architecture, renderer: PromptRenderer, *, vocabulary: int, inner: int) -> Qwen3ForCausalLM:
    """A Qwen3 with tied embeddings and random weights, from PyTorch's own generator.

    Args:
        vocabulary: Tokens; the embedding gets as many rows, rounded up to a multiple of 16.
        inner: Width of the feed-forward layers, in widths of the residual stream.
    """
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=math.ceil(vocabulary / ROUND_VOCABULARY_TO) * ROUND_VOCABULARY_TO,
            hidden_size=size.hidden_size,
            intermediate_size=inner * size.hidden_size,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            num_key_value_heads=size.heads,
            head_dim=size.head_dim,
            max_position_embeddings=size.max_positions,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=renderer.tokenizer.token_to_id(END),
            pad_token_id=renderer.tokenizer.token_to_id(PAD),
        )
    )


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
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: dict[str, Any],
) -> None:
    """One resume point, in the place of one that was begun: tensors, and plain values that a safe load reads again. No
    random state: what is drawn while training follows from the step alone."""
    point = context.work / "checkpoints" / f"checkpoint-{step}"
    shutil.rmtree(point, ignore_errors=True)
    point.mkdir(parents=True)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "progress": progress}
    torch.save(state, point / "state.pt")
    complete(point)


def restore(context: StageContext, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Continue from the last whole resume point; its `progress`, empty where there is none."""
    point = last_complete(context.work / "checkpoints")
    if point is None:
        return {}
    state = torch.load(point / "state.pt", weights_only=True)
    # A recommender's point of an earlier version has another form: its minutes are done again.
    if "model" not in state:
        return {}
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
