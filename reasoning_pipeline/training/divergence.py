"""Divergences between a student and a teacher of whom only K log-probabilities per token are known.

The other words are taken together as one more outcome, the *tail*, of probability 1 - sum(p). Merging outcomes can
only lose information, so the divergence over K + 1 outcomes is a true divergence (never negative, zero at equality)
and a lower bound of the exact one; with K = V there is no tail and it is the exact one. All values in nats.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch

Direction = Literal["forward", "reverse"]
"""`forward` is KL(teacher || student), `reverse` KL(student || teacher)."""

TAIL_FLOOR = 2.0**-23
"""What 1 - sum(p) can resolve in float32; smaller tails count as this much, on both sides."""


class LossSum(NamedTuple):
    """A loss before its one division by the global number of tokens."""

    total: torch.Tensor
    tokens: torch.Tensor


def with_tail(logprobs_NK: torch.Tensor) -> torch.Tensor:
    """[N, K + 1]: the K log-probabilities and that of everything else."""
    tail_N = (1.0 - logprobs_NK.exp().sum(-1)).clamp(min=TAIL_FLOOR)
    return torch.cat([logprobs_NK, tail_N.log().unsqueeze(-1)], dim=-1)


def coarsened_kl(
    student_NK: torch.Tensor, teacher_NK: torch.Tensor, *, vocabulary: int, direction: Direction
) -> torch.Tensor:
    """[N]: the divergence over the teacher's K words and the tail. Gradients reach the student.

    Args:
        student_NK: The student's log-probabilities of the K words the teacher names.
        teacher_NK: The teacher's own; without gradient.
    """
    if student_NK.shape[-1] < vocabulary:
        student_NK, teacher_NK = with_tail(student_NK), with_tail(teacher_NK)
    first, second = (student_NK, teacher_NK) if direction == "reverse" else (teacher_NK, student_NK)
    return (first.exp() * (first - second)).sum(-1)


def sampled_token_kl(student_N: torch.Tensor, teacher_N: torch.Tensor, direction: Direction) -> torch.Tensor:
    """[N]: the divergence estimated from the one token x that stands there, with the divergence's own gradient.

    Unbiased where the left side of the KL wrote x: the student for `reverse`, the teacher for `forward`; negative as
    often as chance will have it. `forward` is log p(x) - log q(x), whose gradient is that of the likelihood. For
    `reverse`, log q(x) - log p(x), the derivative of the value would be that of log q alone, whose expectation is zero;
    the gradient of KL(q || p) is E[(log q - log p) grad log q]: a policy gradient in which each token's advantage is
    -(log q - log p), detached.
    """
    if direction == "forward":
        return teacher_N - student_N
    estimate_N = (student_N - teacher_N).detach()
    surrogate_N = estimate_N * student_N
    return estimate_N + surrogate_N - surrogate_N.detach()


def loss_sum(
    student_NK: torch.Tensor, teacher_NK: torch.Tensor, *, top_k: int, vocabulary: int, direction: Direction
) -> LossSum:
    """The loss over N tokens: of the teacher's K words and the tail, or (`top_k` 0) of the sampled token alone."""
    if top_k == 0:
        divergence_N = sampled_token_kl(student_NK[:, 0], teacher_NK[:, 0], direction)
    else:
        divergence_N = coarsened_kl(student_NK, teacher_NK, vocabulary=vocabulary, direction=direction)
    return LossSum(divergence_N.sum(), torch.tensor(len(divergence_N), device=divergence_N.device))
