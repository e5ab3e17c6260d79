"""The measures of C2 against arithmetic done by hand, and against the plain form on tiny models."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_pipeline.estimates import memory
from reasoning_pipeline.models.loading import load_model
from reasoning_pipeline.training import distance
from reasoning_pipeline.training.distance import (
    RolloutDistance,
    interval,
    per_token,
    rollout_distances,
    token_distances,
)
from tests.training.largest_tensor import LargestTensor

ROLLOUTS = [([5, 6, 7], [8, 9, 10, 2]), ([5, 6], [11, 2]), ([9], [3, 4, 5, 6, 7, 2])]


def logits(*probabilities: float) -> torch.Tensor:
    return torch.tensor([probabilities]).log()


def test_the_estimate_knows_the_sizes_of_a_pass_and_a_tile() -> None:
    assert (memory.COMPARED_TOKENS, memory.COMPARED_TILE) == (distance.PASS_TOKENS, distance.TILE_ELEMENTS)


def test_three_words_by_hand() -> None:
    # S = (1/2, 1/4, 1/4), T = (1/4, 1/2, 1/4): KL(S||T) = 1/2 ln 2 - 1/4 ln 2 = (ln 2)/4, and KL(T||S) the same
    student, teacher = logits(0.5, 0.25, 0.25), logits(0.25, 0.5, 0.25)
    reverse, forward, overlap = token_distances(student, teacher, top_k=1)
    assert reverse.item() == pytest.approx(log(2) / 4)
    assert forward.item() == pytest.approx(log(2) / 4)
    assert overlap.item() == 0.0


def test_the_two_directions_differ() -> None:
    # S = (0.9, 0.05, 0.05), T = (1/3, 1/3, 1/3)
    reverse, forward, _ = token_distances(logits(0.9, 0.05, 0.05), logits(1 / 3, 1 / 3, 1 / 3), top_k=1)
    assert reverse.item() == pytest.approx(0.9 * log(2.7) + 0.1 * log(0.15), rel=1e-5)
    assert forward.item() == pytest.approx((log(1 / 2.7) + 2 * log(1 / 0.15)) / 3, rel=1e-5)


def test_overlap_counts_the_teachers_words_among_the_students() -> None:
    # top 3 of S: {0, 1, 2}; top 3 of T: {2, 3, 1}: two of three are shared
    _, _, overlap = token_distances(logits(0.4, 0.3, 0.2, 0.1), logits(0.1, 0.2, 0.4, 0.3), top_k=3)
    assert overlap.item() == pytest.approx(2 / 3)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 9), st.sampled_from([0.1, 1.0, 30.0]))
def test_bounds_hold_for_any_logits(seed: int, top_k: int, spread: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    student, teacher = (spread * torch.randn(5, 7, generator=rng) for _ in range(2))
    reverse, forward, overlap = token_distances(student, teacher, top_k=top_k)
    assert (reverse > -1e-5).all() and (forward > -1e-5).all()
    assert ((overlap >= 0) & (overlap <= 1)).all()
    assert top_k < 7 or (overlap == 1).all(), "the whole vocabulary is always shared"
    same = token_distances(student, student, top_k=top_k)
    assert same[0].abs().max() == 0 and same[1].abs().max() == 0 and (same[2] == 1).all()


@pytest.mark.parametrize("tile_elements", [1, 300, 2**25])
def test_tiles_give_what_the_plain_form_gives(tiny_model: Path, other_model: Path, tile_elements: int) -> None:
    student, teacher = load_model(tiny_model), load_model(other_model)
    found = rollout_distances(student, teacher, ROLLOUTS, top_k=4, tile_elements=tile_elements)
    for (prompt, completion), ours in zip(ROLLOUTS, found, strict=True):
        ids = torch.tensor([prompt + completion])
        with torch.no_grad():
            both = [model(ids).logits[0, len(prompt) - 1 : -1] for model in (student, teacher)]
        reverse, forward, overlap = token_distances(*both, top_k=4)
        assert ours.tokens == len(completion)
        assert ours.reverse_kl == pytest.approx(reverse.sum().item(), rel=1e-4)
        assert ours.forward_kl == pytest.approx(forward.sum().item(), rel=1e-4)
        assert ours.overlap == pytest.approx(overlap.sum().item(), abs=1e-6)


def test_passes_do_not_change_the_result_and_a_model_has_no_distance_to_itself(
    tiny_model: Path, other_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student, teacher = load_model(tiny_model), load_model(other_model)
    together = rollout_distances(student, teacher, ROLLOUTS, top_k=4)
    monkeypatch.setattr(distance, "PASS_TOKENS", 1)
    alone = rollout_distances(student, teacher, ROLLOUTS, top_k=4)
    assert [d.reverse_kl for d in alone] == pytest.approx([d.reverse_kl for d in together], rel=1e-4)
    for same in rollout_distances(student, student, ROLLOUTS, top_k=4):
        assert same.reverse_kl == same.forward_kl == 0 and same.overlap == same.tokens


def test_no_tensor_holds_all_tokens_times_the_vocabulary(tiny_model: Path, other_model: Path) -> None:
    student, teacher = load_model(tiny_model), load_model(other_model)
    rollouts = [([5, 6, 7], list(range(10, 70))) for _ in range(8)]  # 480 tokens x 112 words = 53,760
    with LargestTensor() as seen:
        rollout_distances(student, teacher, rollouts, top_k=4, tile_elements=16 * 112)
    assert seen.largest < 480 * 112, "the backbone's own activations are the largest"
    with LargestTensor() as seen:
        rollout_distances(student, teacher, rollouts, top_k=4, tile_elements=480 * 112)
    assert seen.largest >= 480 * 112, "one tile of all tokens would show"


def distances(*pairs: tuple[int, float]) -> list[RolloutDistance]:
    return [RolloutDistance(tokens=n, reverse_kl=kl, forward_kl=0.0, overlap=0.0) for n, kl in pairs]


def test_the_mean_is_over_tokens_not_over_rollouts() -> None:
    # (1.0 + 0.2) / (2 + 10) = 0.1, though the rollouts' own means are 0.5 and 0.02
    assert per_token(distances((2, 1.0), (10, 0.2)), "reverse_kl") == pytest.approx(0.1)
    assert per_token([], "reverse_kl") is None


def test_rollouts_of_one_prompt_are_drawn_together() -> None:
    # Ten prompts; asking each 50 times says nothing new about prompts, so the interval must not shrink.
    once = distances(*((10, float(i)) for i in range(10)))
    often = [d for d in once for _ in range(50)]
    names = [str(i) for i in range(10)]
    low, high = interval(once, names, "reverse_kl")  # type: ignore[misc]
    assert interval(often, [name for name in names for _ in range(50)], "reverse_kl") == pytest.approx((low, high))
    independent = interval(often, [str(i) for i in range(500)], "reverse_kl")
    assert independent is not None and high - low > 5 * (independent[1] - independent[0])
    assert interval(once[:1], ["0"], "reverse_kl") is None


@pytest.mark.slow
def test_the_interval_covers_as_often_as_it_says() -> None:
    # 40 prompts with 1 to 20 tokens each, mean 1.0 per token: 95 % intervals, so about 190 of 200 hold 1.0
    rng = torch.Generator().manual_seed(0)
    hits = 0
    for _ in range(200):
        tokens = torch.randint(1, 21, (40,), generator=rng)
        level = 0.5 + torch.rand(40, generator=rng)
        made: Any = distances(*((int(n), float(n * kl)) for n, kl in zip(tokens, level, strict=True)))
        low, high = interval(made, [str(i) for i in range(40)], "reverse_kl")  # type: ignore[misc]
        hits += low <= 1.0 <= high
    assert 176 <= hits <= 198, hits
