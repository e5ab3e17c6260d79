"""TRL's exact divergence with four products against the heads where TRL takes six, for CPUs.

TRL goes over the words in tiles, so a tile knows no normaliser: its backward pass makes both models' logits again. Here
a tile has all words of a few tokens. What their gradient is follows at once, and is kept for the backward pass as the
gradients of the hidden states and of the head, which autograd would make there at the same time of the step.
(Liger-Kernel, arXiv 2410.10989, does so for cross entropy.) On GPUs TRL's kernels fold a tile without going over it
ten times, as plain PyTorch must; there they stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from reasoning_pipeline.estimates.memory import tokens_at_once
from reasoning_pipeline.training.tiled_logits import Gathered, precision_of

IN_CACHE = 8
"""Tokens whose logits are looked at together: 1 MiB in float32 of a vocabulary of 32,768."""


@dataclass(frozen=True)
class Head:
    """What makes logits of hidden states: logits = scale (hidden weight^T + bias)."""

    hidden_NH: torch.Tensor
    weight_VH: torch.Tensor
    bias_V: torch.Tensor | None
    scale: float

    def logits(self, tokens: slice, dtype: torch.dtype, out: torch.Tensor) -> torch.Tensor:
        """In float32 of operands in `dtype`: rounded logits would be an error of the divergence."""
        logits = out[: tokens.stop - tokens.start]
        torch.mm(self.hidden_NH[tokens].to(dtype).float(), self.weight_VH.to(dtype).float().T, out=logits)
        if self.bias_V is not None:
            logits += self.bias_V.float()
        return logits if self.scale == 1.0 else logits.mul_(self.scale)


@dataclass
class Found:
    """Of N tokens: divergence and the student's entropy in nats, and gradients of the divergences' weighted sum."""

    divergence_N: torch.Tensor
    entropy_N: torch.Tensor
    hidden_NH: torch.Tensor | None = None
    weight_VH: torch.Tensor | None = None
    bias_V: torch.Tensor | None = None


def divergence_and_gradient(
    student: Head,
    teacher: Head,
    *,
    reverse: bool,
    dtypes: tuple[torch.dtype, ...],
    weights_N: torch.Tensor | None = None,
    head_learns: bool = True,
) -> Found:
    """KL(student || teacher) where `reverse`, else KL(teacher || student), over the whole vocabulary.

    With respect to the student's logits s the gradients of a token are p_s (log p_s - log p_t - KL) and p_s - p_t.

    Args:
        dtypes: In which student and teacher compute.
        weights_N: Of the tokens in the gradient; None where no gradient is asked for.
        head_learns: False where the gradient of the hidden states is enough (adapters).
    """
    count, vocabulary = len(student.hidden_NH), len(student.weight_VH)
    found = Found(*torch.empty(2, count, device=student.hidden_NH.device))
    if weights_N is not None:
        found.hidden_NH = torch.empty_like(student.hidden_NH, dtype=torch.float32)
    if weights_N is not None and head_learns:
        found.weight_VH = torch.zeros_like(student.weight_VH, dtype=torch.float32)
        found.bias_V = None if student.bias_V is None else torch.zeros_like(student.bias_V, dtype=torch.float32)
    size = min(tokens_at_once(vocabulary), max(count, 1))
    # Memory that is asked for anew in each tile costs ten times what is computed in it.
    of_student, of_teacher = (torch.empty(size, vocabulary, device=student.hidden_NH.device) for _ in range(2))
    scratch = torch.empty(min(size, IN_CACHE), vocabulary, device=student.hidden_NH.device)
    for start in range(0, count, size):
        tokens = slice(start, min(start + size, count))
        ours = student.logits(tokens, dtypes[0], of_student)
        theirs = teacher.logits(tokens, dtypes[1], of_teacher)
        for first in range(0, len(ours), IN_CACHE):
            few = slice(first, min(first + IN_CACHE, len(ours)))
            into = slice(start + few.start, start + few.stop)
            found.divergence_N[into], found.entropy_N[into] = _of_few(
                ours[few], theirs[few], scratch[: few.stop - few.start], reverse
            )
        if weights_N is None or found.hidden_NH is None:
            continue
        low = ours.mul_(weights_N[tokens].unsqueeze(-1) * student.scale).to(dtypes[0])
        found.hidden_NH[tokens] = (low @ student.weight_VH.to(dtypes[0])).float()
        if found.weight_VH is not None:
            _add_product(found.weight_VH, low.T, student.hidden_NH[tokens].to(dtypes[0]))
        if found.bias_V is not None:
            found.bias_V += ours.sum(0)
    return found


def _of_few(
    ours: torch.Tensor, theirs: torch.Tensor, scratch: torch.Tensor, reverse: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Divergence and the student's entropy; `ours`, logits, become the divergence's gradient, `theirs` nothing."""
    torch.log_softmax(ours, -1, out=ours)
    torch.log_softmax(theirs, -1, out=theirs)
    chosen = torch.exp(ours, out=scratch)
    entropy = -torch.linalg.vecdot(chosen, ours)
    if reverse:
        torch.sub(ours, theirs, out=theirs)
        kl = torch.linalg.vecdot(chosen, theirs)
        torch.mul(chosen, theirs.sub_(kl.unsqueeze(-1)), out=ours)
    else:
        theirs_less_ours, advised = torch.sub(theirs, ours, out=ours), theirs.exp_()
        kl = torch.linalg.vecdot(advised, theirs_less_ours)
        torch.sub(chosen, advised, out=ours)
    return kl, entropy


def _add_product(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    if left.dtype == torch.float32:
        total.addmm_(left, right)
    else:
        total += left @ right


def exact_divergence(otherwise: Any, gathered: Gathered) -> Callable[..., Any]:
    """What stands for TRL's `ChunkedDivergenceFunction.apply`, with the same arguments.

    Args:
        otherwise: TRL's own, for GPUs, divergences between the two, and logits that are capped.
        gathered: Given heads, a context in which they are whole.
    """

    def apply(*given: Any) -> Any:
        hidden, weight, bias, other_hidden, other_weight, other_bias, beta = given[:7]
        options: list[Any] = [*given[7:], *(1.0, 1.0, None, 1.0, None)[len(given) - 7 :]]
        temperature, scale, cap, other, other_cap = options
        if hidden.device.type != "cpu" or beta not in (0.0, 1.0) or cap is not None or other_cap is not None:
            return otherwise(*given)
        student = Head(hidden, weight, bias, scale / temperature)
        teacher = Head(other_hidden, other_weight, other_bias, other / temperature)
        return _Divergence.apply(hidden, weight, bias, student, teacher, beta == 1.0, torch.is_grad_enabled(), gathered)

    return apply


class _Divergence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: torch.Tensor,
        weight_VH: torch.Tensor,
        bias_V: torch.Tensor | None,
        student: Head,
        teacher: Head,
        reverse: bool,
        learns: bool,
        gathered: Gathered,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        dtypes = precision_of(student.hidden_NH), precision_of(teacher.hidden_NH)
        head_learns = ctx.needs_input_grad[1]

        def found(weights_N: torch.Tensor | None) -> Found:
            heads = gathered(student.weight_VH, student.bias_V), gathered(teacher.weight_VH, teacher.bias_V)
            with torch.no_grad(), heads[0], heads[1], torch.autocast("cpu", enabled=False):
                return divergence_and_gradient(
                    student, teacher, reverse=reverse, dtypes=dtypes, weights_N=weights_N,
                    head_learns=head_learns,
                )  # fmt: skip

        first = found(torch.ones(len(hidden_NH), device=hidden_NH.device) if learns else None)
        ctx.again, ctx.first = found, first if learns else None
        ctx.like = [None if p is None else p.dtype for p in (hidden_NH, weight_VH, bias_V)]
        ctx.mark_non_differentiable(first.entropy_N)
        return first.divergence_N, first.entropy_N

    @staticmethod
    def backward(ctx: Any, weights_N: torch.Tensor, _: Any) -> Any:
        found, again = ctx.first, ctx.again
        ctx.first = ctx.again = None  # what they hold goes with this pass
        weight = float(weights_N[0]) if len(weights_N) else 0.0
        if bool((weights_N != weight).any()):  # no loss here weighs its tokens unequally
            found, weight = again(weights_N), 1.0
        gradients = zip((found.hidden_NH, found.weight_VH, found.bias_V), ctx.like, strict=True)
        return (*(None if g is None else g.mul_(weight).to(dtype) for g, dtype in gradients), *(None,) * 5)
