"""How far a student is from a teacher on rollouts that the student wrote: divergences per token, and top-k overlap.

Exact over the whole vocabulary, in nats; logits are made for a tile of tokens at a time and reduced at once, so that
no [tokens, vocabulary] tensor exists. Used by the C2 measurement and by a warmup that runs until C2 holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from reasoning_pipeline.training.packing import PackedRows, hidden_states, keeping_rows_apart, pack

TILE_ELEMENTS = 2**25
"""Logits of one model held at once: 128 MiB in float32, 220 tokens of a vocabulary of 151,936."""

PASS_TOKENS = 2**14
"""Tokens of one forward pass through the backbones; a longer rollout has one for itself."""

DRAWS, CONFIDENCE, BOOTSTRAP_SEED = 10_000, 0.95, 20_240_717


@dataclass(frozen=True, kw_only=True)
class RolloutDistance:
    """Sums over the tokens of one rollout; a mean is divided once, over all rollouts.

    Example:
        RolloutDistance(tokens=12, reverse_kl=0.61, forward_kl=0.48, overlap=11.2)
    """

    tokens: int
    reverse_kl: float
    """Of KL(student || teacher), nats."""
    forward_kl: float
    """Of KL(teacher || student), nats."""
    overlap: float
    """Of the share of the teacher's top-k tokens that are in the student's top-k."""


def token_distances(
    student_NV: torch.Tensor, teacher_NV: torch.Tensor, *, top_k: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(KL(student || teacher) [N], KL(teacher || student) [N], overlap [N]) of two sets of logits.

    Example: student (1/2, 1/4, 1/4), teacher (1/4, 1/2, 1/4): both divergences are (ln 2) / 4 = 0.173; the top-1
    tokens differ, overlap 0; of the top 2 one is sure to be shared.
    """
    student_NV, teacher_NV = student_NV.float().log_softmax(-1), teacher_NV.float().log_softmax(-1)
    gap_NV = student_NV - teacher_NV
    reverse_N = (student_NV.exp() * gap_NV).sum(-1)
    forward_N = -(teacher_NV.exp() * gap_NV).sum(-1)
    k = min(top_k, student_NV.shape[-1])
    among_students_NV = torch.zeros_like(student_NV, dtype=torch.bool)
    among_students_NV.scatter_(-1, student_NV.topk(k).indices, value=True)
    overlap_N = among_students_NV.gather(-1, teacher_NV.topk(k).indices).float().mean(-1)
    return reverse_N, forward_N, overlap_N


@torch.no_grad()
def rollout_distances(
    student: Any,
    teacher: Any,
    rollouts: Sequence[tuple[list[int], list[int]]],
    *,
    top_k: int,
    temperature: float = 1.0,
    tile_elements: int = TILE_ELEMENTS,
) -> list[RolloutDistance]:
    """One entry for each (prompt ids, completion ids); the models are causal language models of one vocabulary.

    Collective where the models are sharded: every process passes the same rollouts.
    """
    modes = student.training, teacher.training
    student.eval(), teacher.eval()
    found: list[RolloutDistance] = []
    try:
        for part in _passes(rollouts):
            packed = pack(part, next(student.parameters()).device)
            with keeping_rows_apart(student, teacher):
                hidden = [_hidden(model, packed) for model in (student, teacher)]
            sums_N = [torch.empty(len(hidden[0]), dtype=torch.float64) for _ in range(3)]
            size = max(1, tile_elements // _head(student).weight.shape[0])
            for start in range(0, len(hidden[0]), size):
                rows = slice(start, start + size)
                logits = [
                    _logits(model, h[rows]) / temperature for model, h in zip((student, teacher), hidden, strict=True)
                ]
                for total, values in zip(sums_N, token_distances(*logits, top_k=top_k), strict=True):
                    total[rows] = values.double().cpu()
            lengths = [len(completion) for _, completion in part]
            for reverse, forward, overlap in zip(*(total.split(lengths) for total in sums_N), strict=True):
                found.append(
                    RolloutDistance(
                        tokens=len(reverse),
                        reverse_kl=float(reverse.sum()),
                        forward_kl=float(forward.sum()),
                        overlap=float(overlap.sum()),
                    )
                )
    finally:
        student.train(modes[0]), teacher.train(modes[1])
    return found


def distances_over_processes(
    student: Any, teacher: Any, rollouts: Sequence[tuple[list[int], list[int]]], accelerator: Any, **options: Any
) -> list[RolloutDistance]:
    """`rollout_distances`, its passes divided over the processes. Collective: all pass the same, and all get all.

    Models that are divided gather in every pass, so each process makes equally many: one that has none left repeats
    the first, and nobody counts it.
    """
    parts, processes = list(_passes(rollouts)), accelerator.num_processes
    mine = range(accelerator.process_index, len(parts), processes)
    found = {number: rollout_distances(student, teacher, parts[number], **options) for number in mine}
    if len(mine) < -(-len(parts) // processes):
        rollout_distances(student, teacher, parts[0], **options)
    if processes > 1:
        from accelerate.utils import gather_object

        found = dict(gather_object(list(found.items())))
    return [distance for number in range(len(parts)) for distance in found[number]]


def per_token(distances: Sequence[RolloutDistance], field: str) -> float | None:
    """The mean of a sum over all tokens; None where no token was written."""
    tokens = sum(distance.tokens for distance in distances)
    return sum(getattr(distance, field) for distance in distances) / tokens if tokens else None


def interval(distances: Sequence[RolloutDistance], clusters: Sequence[str], field: str) -> tuple[float, float] | None:
    """95 % percentile bootstrap of `per_token`, prompts drawn whole: tokens of one rollout, and rollouts of one prompt,
    are alike. None where fewer than two prompts have tokens."""
    names, index = np.unique(np.asarray(clusters), return_inverse=True)
    totals_P = np.bincount(index, weights=[getattr(d, field) for d in distances], minlength=len(names))
    tokens_P = np.bincount(index, weights=[d.tokens for d in distances], minlength=len(names))
    if (tokens_P > 0).sum() < 2:
        return None
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    means: list[np.ndarray] = []
    for part in np.array_split(np.arange(DRAWS), max(1, DRAWS * len(names) // 5_000_000)):  # bounds memory
        drawn_DP = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=len(part))
        tokens_D = drawn_DP @ tokens_P
        means.append((drawn_DP @ totals_P)[tokens_D > 0] / tokens_D[tokens_D > 0])
    low, high = np.quantile(np.concatenate(means), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _passes(rollouts: Sequence[tuple[list[int], list[int]]]) -> Iterator[list[tuple[list[int], list[int]]]]:
    """Neighbours that fit into one forward pass together."""
    part: list[tuple[list[int], list[int]]] = []
    tokens = 0
    for prompt, completion in rollouts:
        length = len(prompt) + len(completion)
        if part and tokens + length > PASS_TOKENS:
            yield part
            part, tokens = [], 0
        part.append((prompt, completion))
        tokens += length
    if part:
        yield part


def _hidden(model: Any, packed: PackedRows) -> torch.Tensor:
    """[N, H], before the head, where completion tokens are predicted."""
    return hidden_states(model, packed, backbone=_backbone_of_divided(model) if hasattr(model, "unshard") else None)


def _backbone_of_divided(model: Any) -> Callable[..., Any]:
    """The same of a model that FSDP2 divides: its root has to know of a pass, to wait for the optimizer and to say
    which unit is the root."""
    from torch.distributed.fsdp import register_fsdp_forward_method

    if not hasattr(model, "_backbone_alone"):
        model._backbone_alone = partial(model.base_model)
        register_fsdp_forward_method(model, "_backbone_alone")
    alone: Callable[..., Any] = model._backbone_alone
    return alone


def _head(model: Any) -> Any:
    return model.get_output_embeddings()


def _logits(model: Any, hidden_NH: torch.Tensor) -> torch.Tensor:
    """As the model itself would make them, in float32."""
    config = model.config.get_text_config()
    logits_NV: torch.Tensor = _head(model)(hidden_NH.to(_head(model).weight.dtype)).float()
    if (divisor := getattr(config, "logits_scaling", None)) is not None:  # Granite
        logits_NV = logits_NV / divisor
    if (factor := getattr(config, "logit_scale", None)) is not None:  # Cohere
        logits_NV = logits_NV * factor
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:  # Gemma
        logits_NV = cap * torch.tanh(logits_NV / cap)
    return logits_NV
