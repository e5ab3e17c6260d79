"""TRL's tiled divergence against the plain formula, and the promise that no [tokens, vocabulary] tensor exists."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from reasoning_pipeline.training import exact_divergence
from reasoning_pipeline.training.trl_bridge.distillation import BETA
from tests.training.largest_tensor import LargestTensor, NewTensors

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

    # A tile holds all of 100,000 words for 41 tokens of the 128, for either model.
    tokens, vocabulary, width = 128, 100_000, 4
    student = torch.randn(1, tokens, width, requires_grad=True)
    student_head = torch.randn(vocabulary, width, requires_grad=True)
    teacher, teacher_head = torch.randn(1, tokens, width), torch.randn(vocabulary, width)
    with LargestTensor() as seen:
        loss, _, _ = _chunked_divergence_loss(student, teacher, student_head, teacher_head, torch.ones(1, tokens), beta)
        loss.backward()
    assert seen.largest < tokens * vocabulary / 2
    assert seen.largest >= vocabulary  # the watch saw the tiles


@pytest.mark.parametrize("beta", [BETA["forward"], BETA["reverse"]])
def test_in_passes_no_hidden_states_are_copied(beta: float, monkeypatch: pytest.MonkeyPatch) -> None:
    from trl.trainer.distillation_trainer import _chunked_divergence_loss

    from reasoning_pipeline.training.packing import keeping_rows_apart

    tokens, vocabulary, width = 600, 7, 48  # so that nothing else has so many elements
    monkeypatch.setattr(exact_divergence, "tokens_at_once", lambda _: 100)
    student = torch.randn(1, tokens, width, requires_grad=True)
    student_head, teacher_head = torch.randn(vocabulary, width), torch.randn(vocabulary, width)
    teacher = torch.randn(1, tokens, width)
    with NewTensors(tokens * width) as seen, keeping_rows_apart():
        loss, _, counted = _chunked_divergence_loss(
            student, teacher, student_head, teacher_head, torch.ones(1, tokens), beta
        )
        assert seen.found == 1, "the student's gradient, made here and kept"
        loss.backward()
    assert int(counted) == tokens and student.grad is not None


MEASURE = """
import resource, sys, torch
from reasoning_pipeline.training.trl_bridge.distillation import distillation_trainer
_chunked_divergence_loss = distillation_trainer._chunked_divergence_loss
torch.manual_seed(0)
beta, tokens, vocabulary, width = float(sys.argv[1]), int(sys.argv[2]), 151_936, 64
student = torch.randn(1, tokens, width, requires_grad=True)
student_head = torch.randn(vocabulary, width, requires_grad=True)
student_head.grad = torch.zeros_like(student_head)
teacher, teacher_head = torch.randn(1, tokens, width), torch.randn(vocabulary, width)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
loss, _, _ = _chunked_divergence_loss(student, teacher, student_head, teacher_head, torch.ones(1, tokens), beta)
loss.backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_at_the_vocabulary_of_qwen3_memory_is_that_of_tiles(direction: str, record_property: Any) -> None:
    # 2,048 tokens by 151,936 words in float32 are 1,187 MiB, and both models' logits and their gradient would be three.
    command = [sys.executable, "-c", MEASURE, str(BETA[direction]), "2048"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    record_property("mib", int(done.stdout))
    assert int(done.stdout) < 1_000


@pytest.mark.parametrize("beta", [BETA["forward"], BETA["reverse"]])
@pytest.mark.parametrize("head_learns", [True, False])
def test_tokens_may_weigh_differently_and_heads_have_biases_scales_and_a_temperature(
    beta: float, head_learns: bool
) -> None:
    from trl.kernels.chunked_divergence import ChunkedDivergenceFunction
    from trl.trainer import distillation_trainer

    torch.manual_seed(1)
    weights_N = torch.linspace(0, 1, 40)
    given = [torch.randn(*size) for size in ((40, 8), (50, 8), (50,), (40, 12), (50, 12), (50,))]
    found = []
    for apply in (ChunkedDivergenceFunction.apply, distillation_trainer.ChunkedDivergenceFunction.apply):
        student = [tensor.clone().requires_grad_(head_learns or not at) for at, tensor in enumerate(given[:3])]
        divergence_N, entropy_N = apply(*student, *given[3:], beta, 0.7, 1.5, None, 0.5, None)
        (divergence_N * weights_N).sum().backward()
        found.append([divergence_N.detach(), entropy_N, *(tensor.grad for tensor in student)])
    for ours, theirs in zip(found[1], found[0], strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_each_head_is_multiplied_with_once_and_the_students_gradient_is_not_made_of_new_logits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    logits = exact_divergence.Head.logits

    def counted(head: exact_divergence.Head, *given: Any) -> torch.Tensor:
        made.append(head)
        return logits(head, *given)

    monkeypatch.setattr(exact_divergence.Head, "logits", counted)
    loss, student, *_ = tiled_loss(BETA["reverse"])
    loss.backward()
    assert student.grad is not None
    assert len(made) == 2
