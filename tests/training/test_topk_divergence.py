"""The divergence over K words and a tail: a bound, exact where nothing is merged, and the same tile by tile."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from reasoning_pipeline.training import tiled_logits  # noqa: E402
from reasoning_pipeline.training.divergence import TAIL_FLOOR, coarsened_kl, loss_sum, sampled_token_kl, with_tail  # noqa: E402

VOCABULARY = 12
DIRECTIONS = pytest.mark.parametrize("direction", ["forward", "reverse"])


def distributions(seed: int, tokens: int = 5, spread: float = 3.0, vocabulary: int = VOCABULARY):
    """(student, teacher) log-probabilities [tokens, vocabulary] in float64."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, tokens, vocabulary, generator=generator, dtype=torch.float64) * spread
    return logits.log_softmax(-1)


def exact_kl(student, teacher, direction: str):
    """The plain form over the whole vocabulary."""
    first, second = (student, teacher) if direction == "reverse" else (teacher, student)
    return (first.exp() * (first - second)).sum(-1)


def top(student, teacher, k: int):
    teacher_NK, ids_NK = teacher.topk(k, dim=-1)
    return student.gather(-1, ids_NK), teacher_NK


@DIRECTIONS
@given(seed=st.integers(0, 10_000), k=st.integers(1, VOCABULARY), spread=st.floats(0.01, 8))
@settings(max_examples=60, deadline=None)
def test_it_is_a_divergence_and_a_lower_bound_that_grows_with_k(
    direction: str, seed: int, k: int, spread: float
) -> None:
    student, teacher = distributions(seed, spread=spread)
    values = [
        coarsened_kl(*top(student, teacher, size), vocabulary=VOCABULARY, direction=direction)
        for size in (k, min(k + 1, VOCABULARY))
    ]
    exact = exact_kl(student, teacher, direction)
    # A tail below float32's resolution counts as 2^-23: that moves the value down, so the bounds stand, to about that
    # much. Only growth with K is lost where one more word pushes the teacher's tail below the resolution.
    assert (values[0] >= -1e-5).all()
    assert (values[0] <= exact + 1e-5).all()
    resolved = 1 - top(student, teacher, min(k + 1, VOCABULARY - 1))[1].exp().sum(-1) > TAIL_FLOOR
    assert (values[0] <= values[1] + 1e-5)[resolved].all()


@DIRECTIONS
def test_with_all_words_it_is_the_exact_divergence(direction: str) -> None:
    student, teacher = distributions(1)
    ours = coarsened_kl(*top(student, teacher, VOCABULARY), vocabulary=VOCABULARY, direction=direction)
    torch.testing.assert_close(ours, exact_kl(student, teacher, direction), rtol=1e-12, atol=1e-12)


@DIRECTIONS
@pytest.mark.parametrize("k", [1, 4, VOCABULARY])
def test_it_is_zero_where_the_two_agree(direction: str, k: int) -> None:
    _, teacher = distributions(2)
    ours = coarsened_kl(*top(teacher, teacher, k), vocabulary=VOCABULARY, direction=direction)
    assert ours.abs().max() < 1e-12


def test_the_tail_is_what_the_words_leave() -> None:
    # 1 - 1/2 - 1/4 = 1/4
    outcomes = with_tail(torch.tensor([[0.5, 0.25]], dtype=torch.float64).log()).exp()
    torch.testing.assert_close(outcomes, torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64))


@DIRECTIONS
@pytest.mark.parametrize("k", [2, VOCABULARY])
def test_the_gradient_is_that_of_finite_differences(direction: str, k: int) -> None:
    _, teacher = distributions(3, tokens=2)
    teacher_NK, ids_NK = teacher.topk(k, dim=-1)
    logits = torch.randn(2, VOCABULARY, dtype=torch.float64, requires_grad=True)

    def loss(values):
        student = values.log_softmax(-1).gather(-1, ids_NK)
        return loss_sum(student, teacher_NK, top_k=k, vocabulary=VOCABULARY, direction=direction).total

    assert torch.autograd.gradcheck(loss, (logits,))


@DIRECTIONS
def test_the_sampled_token_estimates_the_divergence_and_its_gradient(direction: str) -> None:
    """Averaged over what its writer may write, value and gradient are exactly the divergence's."""
    logits = torch.randn(1, VOCABULARY, dtype=torch.float64, requires_grad=True)
    _, teacher = distributions(4, tokens=1)
    student = logits.log_softmax(-1)
    exact = exact_kl(student, teacher, direction).sum()
    writer_V = (student if direction == "reverse" else teacher)[0].exp().detach()
    average = (writer_V * sampled_token_kl(student[0], teacher[0], direction)).sum()
    torch.testing.assert_close(average, exact)
    torch.testing.assert_close(
        torch.autograd.grad(average, logits, retain_graph=True)[0], torch.autograd.grad(exact, logits)[0]
    )


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("tile_tokens", [1, 3, 100])
def test_tiles_give_the_value_and_gradient_of_the_plain_form(bias: bool, temperature: float, tile_tokens: int) -> None:
    torch.manual_seed(5)
    hidden = torch.randn(7, 6, requires_grad=True)
    head = torch.randn(VOCABULARY, 6, requires_grad=True)
    offset = torch.randn(VOCABULARY, requires_grad=True) if bias else None
    leaves = [leaf for leaf in (hidden, head, offset) if leaf is not None]
    teacher_NK, ids_NK = distributions(6, tokens=7)[1].float().topk(4, dim=-1)

    ours_NK, entropy = tiled_logits.logprobs_at(
        hidden, head, offset, ids_NK, temperature=temperature, tile_elements=tile_tokens * VOCABULARY
    )
    logits = (hidden @ head.T + (offset if offset is not None else 0)) / temperature
    plain = logits.log_softmax(-1)
    torch.testing.assert_close(ours_NK, plain.gather(-1, ids_NK))
    torch.testing.assert_close(entropy, -(plain.exp() * plain).sum(-1))

    def gradients(student_NK):
        loss = loss_sum(student_NK, teacher_NK, top_k=4, vocabulary=VOCABULARY, direction="reverse").total
        return torch.autograd.grad(loss, leaves, retain_graph=True)

    for got, expected in zip(gradients(ours_NK), gradients(plain.gather(-1, ids_NK)), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


def test_no_tensor_of_tokens_by_vocabulary_is_made() -> None:
    from tests.training.largest_tensor import LargestTensor

    tokens, vocabulary = 64, 5_000
    hidden, head = torch.randn(tokens, 4, requires_grad=True), torch.randn(vocabulary, 4, requires_grad=True)
    ids = torch.randint(vocabulary, (tokens, 8))
    with LargestTensor() as seen:
        picked, _ = tiled_logits.logprobs_at(hidden, head, None, ids, tile_elements=8 * vocabulary)
        picked.sum().backward()
    assert seen.largest <= 8 * vocabulary, "eight tokens' logits at a time"
    assert head.grad is not None and hidden.grad is not None
