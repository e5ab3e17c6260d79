"""A student's log-probabilities of K words per token, without a [tokens, vocabulary] tensor.

Logits are made for a few tokens at a time, reduced, and made again in the backward pass, where
d loss / d logit_v = (d loss / d logsumexp) softmax_v + (d loss / d logit_k where v is word k).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

TILE_ELEMENTS = 2**26
"""Logits made at once: 256 MiB in float32, 441 tokens of a vocabulary of 151,936."""

Gathered = Callable[..., AbstractContextManager[Any]]
"""Given the head's weight and bias, a context in which they are whole (ZeRO-3 shards them)."""


def logprobs_at(
    hidden_NH: torch.Tensor,
    weight_VH: torch.Tensor,
    bias_V: torch.Tensor | None,
    ids_NK: torch.Tensor,
    *,
    temperature: float = 1.0,
    gathered: Gathered = lambda *_: nullcontext(),
    tile_elements: int = TILE_ELEMENTS,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(log-probabilities of the words `ids_NK` [N, K], entropy in nats [N], which carries no gradient)."""
    logits_NK, normaliser_N, entropy_N = _LogitsAt.apply(
        hidden_NH, weight_VH, bias_V, ids_NK, 1.0 / temperature, gathered, tile_elements
    )
    return logits_NK - normaliser_N.unsqueeze(-1), entropy_N


def precision_of(hidden: torch.Tensor) -> torch.dtype:
    """In which a head computes with these states: autocast's where it is on, else their own."""
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


@torch.no_grad()
def top_k_overlap(
    student_NH: torch.Tensor,
    student_weight_VH: torch.Tensor,
    student_bias_V: torch.Tensor | None,
    teacher_NH: torch.Tensor,
    teacher_weight_VH: torch.Tensor,
    teacher_bias_V: torch.Tensor | None,
    *,
    top_k: int,
    gathered: Gathered = lambda *_: nullcontext(),
    tile_elements: int = TILE_ELEMENTS,
) -> torch.Tensor:
    """[N]: the share of the teacher's top-k words that are among the student's (k at most the vocabulary).

    Temperature, a positive scale and soft capping leave the order of logits as it is, so none is asked for.
    """
    dtypes = student_NH.dtype, teacher_NH.dtype
    overlap_N = torch.empty(len(student_NH), device=student_NH.device)
    with (
        gathered(student_weight_VH, student_bias_V),
        gathered(teacher_weight_VH, teacher_bias_V),
        torch.autocast(student_NH.device.type, enabled=False),
    ):
        vocabulary = len(student_weight_VH)
        k = min(top_k, vocabulary)
        for rows in _tiles(len(student_NH), vocabulary, tile_elements):
            ours_NK = _logits(student_NH[rows], student_weight_VH, student_bias_V, dtypes[0], 1.0).topk(k).indices
            theirs_NV = _logits(teacher_NH[rows], teacher_weight_VH, teacher_bias_V, dtypes[1], 1.0)
            theirs_NK = theirs_NV.topk(k).indices
            shared_NK = (theirs_NK.unsqueeze(-1) == ours_NK.unsqueeze(-2)).any(-1)
            overlap_N[rows] = shared_NK.float().mean(-1)
    return overlap_N


class _LogitsAt(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: torch.Tensor,
        weight_VH: torch.Tensor,
        bias_V: torch.Tensor | None,
        ids_NK: torch.Tensor,
        scale: float,
        gathered: Gathered,
        tile_elements: int,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        ctx.dtype = precision_of(hidden_NH)
        ctx.scale, ctx.gathered, ctx.tile_elements = scale, gathered, tile_elements
        picked_NK = hidden_NH.new_empty(ids_NK.shape, dtype=torch.float32)
        normaliser_N, entropy_N = (hidden_NH.new_empty(len(hidden_NH), dtype=torch.float32) for _ in range(2))
        with gathered(weight_VH, bias_V), torch.autocast(hidden_NH.device.type, enabled=False):
            for rows in _tiles(len(hidden_NH), len(weight_VH), tile_elements):
                logits = _logits(hidden_NH[rows], weight_VH, bias_V, ctx.dtype, scale)
                picked_NK[rows] = logits.gather(-1, ids_NK[rows].long())
                normaliser_N[rows] = logits.logsumexp(-1)
                logits -= normaliser_N[rows].unsqueeze(-1)
                entropy_N[rows] = -(logits.exp() * logits).sum(-1)
        ctx.save_for_backward(hidden_NH, weight_VH, bias_V, ids_NK, normaliser_N)
        ctx.mark_non_differentiable(entropy_N)
        return picked_NK, normaliser_N, entropy_N

    @staticmethod
    def backward(ctx: Any, grad_picked_NK: torch.Tensor, grad_normaliser_N: torch.Tensor, _: Any) -> Any:
        hidden_NH, weight_VH, bias_V, ids_NK, normaliser_N = ctx.saved_tensors
        grad_hidden = hidden_NH.new_empty(hidden_NH.shape, dtype=torch.float32)
        with ctx.gathered(weight_VH, bias_V):
            grad_weight = weight_VH.new_zeros(weight_VH.shape, dtype=torch.float32)
            grad_bias = weight_VH.new_zeros(len(weight_VH), dtype=torch.float32)
            for rows in _tiles(len(hidden_NH), len(weight_VH), ctx.tile_elements):
                grad = _logits(hidden_NH[rows], weight_VH, bias_V, ctx.dtype, ctx.scale)
                grad.sub_(normaliser_N[rows].unsqueeze(-1)).exp_().mul_(grad_normaliser_N[rows].unsqueeze(-1))
                grad.scatter_add_(-1, ids_NK[rows].long(), grad_picked_NK[rows]).mul_(ctx.scale)
                grad_hidden[rows] = grad.to(ctx.dtype) @ weight_VH.to(ctx.dtype)
                grad_weight += grad.to(ctx.dtype).T @ hidden_NH[rows].to(ctx.dtype)
                grad_bias += grad.sum(0)
        return (
            grad_hidden.to(hidden_NH.dtype),
            grad_weight.to(weight_VH.dtype) if ctx.needs_input_grad[1] else None,
            grad_bias.to(bias_V.dtype) if bias_V is not None else None,
            *(None,) * 4,
        )


def _tiles(tokens: int, vocabulary: int, elements: int) -> list[slice]:
    size = max(1, elements // max(vocabulary, 1))
    return [slice(start, min(start + size, tokens)) for start in range(0, tokens, size)]


def _logits(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype, scale: float
) -> torch.Tensor:
    """In float32 whatever the operands' precision: rounded logits would be an error of the divergence."""
    if dtype != torch.float32 and hidden.device.type == "cuda":
        logits = torch.mm(hidden.to(dtype), weight.to(dtype).T, out_dtype=torch.float32)
    else:
        logits = hidden.to(dtype).float() @ weight.to(dtype).float().T
    if bias is not None:
        logits = logits + bias.float()
    return logits.mul_(scale)
