"""TRL's tiled divergence against the plain formula, and the promise that no [tokens, vocabulary] tensor exists."""

from __future__ import annotations

import pytest
import torch

from reasoning_pipeline.training.trl_bridge.distillation import BETA
from tests.training.largest_tensor import LargestTensor

pytestmark = pytest.mark.slow  # importing TRL takes seconds


def plain_kl(first_logits: torch.Tensor, second_logits: torch.Tensor) -> torch.Tensor:
    """KL(first || second) at each position, in nats: sum_v p(v) (log p(v) - log q(v))."""
    first, second = (logits.double().log_softmax(-1) for logits in (first_logits, second_logits))
    return (first.exp() * (first - second)).sum(-1)


def tiled_loss(beta: float, tokens: int = 12, vocabulary: int = 50, student_width: int = 8, teacher_width: int = 12):
    """TRL's loss and the plain parts it was made of."""
    from trl.trainer.distillation_trainer import _chunked_divergence_loss

    torch.manual_seed(0)
    student, teacher = torch.randn(1, tokens, student_width), torch.randn(1, tokens, teacher_width)
    student_head = torch.randn(vocabulary, student_width, requires_grad=True)
    teacher_head = torch.randn(vocabulary, teacher_width)
    student.requires_grad_()
    mask = torch.ones(1, tokens)
    mask[0, -3:] = 0
    loss, _, counted = _chunked_divergence_loss(student, teacher, student_head, teacher_head, mask, beta)
    assert int(counted) == tokens - 3
    return loss, student, student_head, student @ student_head.T, teacher @ teacher_head.T, mask


@pytest.mark.parametrize(("beta", "teacher_first"), [(BETA["forward"], True), (BETA["reverse"], False)])
def test_loss_and_gradient_are_those_of_the_plain_formula(beta: float, teacher_first: bool) -> None:
    loss, student, head, student_logits, teacher_logits, mask = tiled_loss(beta)
    kl = plain_kl(teacher_logits, student_logits) if teacher_first else plain_kl(student_logits, teacher_logits)
    plain = (kl * mask).sum() / mask.sum()
    assert loss.item() == pytest.approx(plain.item(), rel=1e-5)
    ours = torch.autograd.grad(loss, [student, head], retain_graph=True)
    reference = torch.autograd.grad(plain, [student, head])
    for got, expected in zip(ours, reference, strict=True):
        torch.testing.assert_close(got, expected.float(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("beta", [BETA["forward"], BETA["reverse"]])
def test_no_tensor_of_tokens_by_vocabulary_is_made(beta: float) -> None:
    from trl.trainer.distillation_trainer import _chunked_divergence_loss

    # One vocabulary tile is 32,768 wide; with 100,000 words the whole would be three times as large as a tile.
    tokens, vocabulary, width = 64, 100_000, 4
    student = torch.randn(1, tokens, width, requires_grad=True)
    student_head = torch.randn(vocabulary, width, requires_grad=True)
    teacher, teacher_head = torch.randn(1, tokens, width), torch.randn(vocabulary, width)
    with LargestTensor() as seen:
        loss, _, _ = _chunked_divergence_loss(student, teacher, student_head, teacher_head, torch.ones(1, tokens), beta)
        loss.backward()
    assert seen.largest < tokens * vocabulary / 2
