"""Statistics against arithmetic done by hand, and against what they promise under simulation."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from math import comb, sqrt

import numpy as np
import pytest

from reasoning_pipeline.statistics.pairs import compare, holm, sign_flip_p
from reasoning_pipeline.statistics.scores import (
    RIGHT,
    bootstrap_means,
    detectable,
    estimate,
    maj_at_k,
    pass_at_k,
    pass_curve,
    pool,
    wilson,
)


def test_both_standard_errors_by_hand():
    # means 1/2 and 1; s^2 = 1/2 and 0 (ddof 1); fixed: sqrt(1/2 / 2 + 0) / 2 = 1/4
    # drawn: sd of (1/2, 1) = sqrt(1/8), / sqrt(2) = 1/4
    found = estimate([[1, 0], [1, 1]])
    assert found is not None
    assert found.mean == 0.75
    assert found.se_fixed == pytest.approx(1 / 4)
    assert found.se_drawn == pytest.approx(sqrt(1 / 8) / sqrt(2))


def test_errors_are_those_seen_when_sampling_again():
    # 30 problems with known rates: sampling 16 answers again and again spreads the score by se_fixed,
    # drawing other problems too by se_drawn.
    rng = np.random.default_rng(1)
    rates = rng.beta(0.3, 0.7, 30)
    again = [(rng.random((30, 16)) < rates[:, None]) for _ in range(400)]
    fixed = [estimate(list(x.astype(float)), draws=10).se_fixed for x in again]
    assert np.mean(fixed) == pytest.approx(np.std([x.mean() for x in again]), rel=0.1)
    drawn = [(rng.random((30, 16)) < rng.beta(0.3, 0.7, 30)[:, None]) for _ in range(400)]
    assert np.mean([estimate(list(x.astype(float)), draws=10).se_drawn for x in drawn]) == pytest.approx(
        np.std([x.mean() for x in drawn]), rel=0.1
    )


def test_what_cannot_be_known_is_none_and_not_zero():
    one = estimate([[1.0]])
    assert (one.mean, one.se_fixed, one.se_drawn, one.detectable_drawn) == (1.0, None, None, None)
    assert estimate([]) is None
    assert estimate([[], []]) is None
    assert estimate([[1.0], []]).problems == 1
    same = estimate([[1, 1]] * 10)
    assert (same.se_fixed, same.se_drawn, same.detectable_fixed) == (None, None, None)


def test_near_the_ends_wilson_and_not_a_bootstrap_that_never_varies():
    # Wilson for 0 of 30: z^2 / (n + z^2) = 3.8415 / 33.8415
    nothing = estimate([[0, 0]] * 30)
    assert (nothing.low, nothing.interval) == (0.0, "Wilson, on problems")
    assert nothing.high == pytest.approx(3.8415 / 33.8415, rel=1e-4)
    assert wilson(1.0, 30) == pytest.approx((1 - 3.8415 / 33.8415, 1.0), rel=1e-4)
    assert "bootstrap" in estimate([[0, 1]] * 30).interval


def test_bootstrap_interval_is_reproducible_and_covers():
    scores = [[float(i % 3 == 0)] for i in range(200)]
    first, second = estimate(scores), estimate(scores)
    assert (first.low, first.high) == (second.low, second.high)
    assert first.low < 1 / 3 < first.high
    assert (first.high - first.low) / 2 == pytest.approx(1.96 * first.se_drawn, rel=0.05)
    # the multinomial shortcut draws what resampling row by row would draw
    values = np.array([0.0, 0.25, 0.25, 1.0])
    assert bootstrap_means(values, 20_000, 0).std() == pytest.approx(values.std() / sqrt(4), rel=0.02)


def test_detectable_difference():
    # (1.95996 + 0.84162) * sqrt(2) * 0.015
    assert detectable(0.015) == pytest.approx(2.80158 * sqrt(2) * 0.015, rel=1e-5)
    assert detectable(0.0) is None


@pytest.mark.parametrize(("n", "correct"), [(4, 0), (4, 1), (6, 3), (5, 5)])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_answer(n: int, correct: int):
    answers = [1] * correct + [0] * (n - correct)
    for k in range(1, n + 1):
        assert pass_at_k(n, correct, k) == pytest.approx(np.mean([max(s) for s in combinations(answers, k)]))
        assert pass_at_k(n, correct, k) == pytest.approx(1 - comb(n - correct, k) / comb(n, k))


def test_pass_curve_starts_at_the_score():
    scores = [[1, 0, 0, 1], [0, 0, 0, 0]]
    assert pass_curve(scores) == {1: pytest.approx(0.25), 2: pytest.approx((1 - 1 / 6) / 2), 4: 0.5}
    assert pass_curve([]) == {}
    with pytest.raises(ValueError, match="k=5, n=4"):
        pass_at_k(4, 1, 5)


def test_majority_shares_ties_and_silence_does_not_vote():
    assert maj_at_k([[RIGHT, RIGHT, 1]], 3) == 1.0
    assert maj_at_k([[RIGHT, 1, None]], 3) == 0.5
    assert maj_at_k([[RIGHT, None, None]], 3) == 1.0
    assert maj_at_k([[1, 2, RIGHT]], 3) == pytest.approx(1 / 3)
    assert maj_at_k([[None, None]], 2) == 0.0
    assert maj_at_k([[1, 1, RIGHT]], 3) == 0.0


def test_majority_over_subsets_is_the_mean_over_all_of_them():
    row = [RIGHT, RIGHT, 1, 2, None]

    def one(votes: tuple) -> float:
        counts = {v: votes.count(v) for v in votes if v is not None}
        top = [v for v, c in counts.items() if c == max(counts.values())]
        return (RIGHT in top) / len(top) if top else 0.0

    exact = np.mean([one(subset) for subset in combinations(row, 3)])
    assert maj_at_k([row], 3) == pytest.approx(exact)


def test_majority_is_counted_and_not_drawn():
    rng = np.random.default_rng(3)
    for _ in range(20):
        row = [int(c) if c < 4 else None for c in rng.integers(0, 5, 8)]
        for k in (1, 2, 5, 8):
            votes = [Counter(v for v in subset if v is not None) for subset in combinations(row, k)]
            tops = [[v for v, c in found.items() if c == max(found.values())] for found in votes]
            assert maj_at_k([row], k) == pytest.approx(np.mean([(RIGHT in top) / max(1, len(top)) for top in tops]))
    rows = [[RIGHT, 1, 2, None]] * 3 + [[1, 1, 2, 3]] * 4
    assert maj_at_k(rows, 1) == pytest.approx(np.mean([c == RIGHT for row in rows for c in row]))


def test_paired_difference_by_hand():
    a = {"x": [0, 0], "y": [1, 0], "z": [1, 1], "w": []}
    b = {"x": [1, 1], "y": [1, 0], "z": [0, 1], "w": [1, 1]}
    found = compare(a, b)  # differences 1, 0, -1/2; w has no score in a
    assert found.difference == pytest.approx(1 / 6)
    assert found.se == pytest.approx(np.std([1, 0, -0.5], ddof=1) / sqrt(3))
    assert (found.won, found.lost, found.tied, found.problems) == (1, 1, 1, 3)
    # sign patterns of (1, 1/2): |sum| is 1.5, .5, .5, 1.5; observed .5 -> all four
    assert found.p == 1.0
    with pytest.raises(ValueError, match="no scored problem"):
        compare({"x": [1]}, {"y": [1]})


def test_equal_runs_differ_by_nothing():
    same = {str(i): [1.0, 0.0] for i in range(20)}
    found = compare(same, same)
    assert (found.difference, found.p, found.low, found.high, found.detectable) == (0.0, 1.0, 0.0, 0.0, None)


def test_sign_flip_is_mcnemar_for_single_samples_and_the_draws_agree_with_enumeration():
    # 9 won, 1 lost: exact two-sided binomial (1 + 10) * 2 / 2^10
    won = np.array([1.0] * 9 + [-1.0])
    assert sign_flip_p(won) == pytest.approx(2 * 11 / 2**10)
    # 16 won, 4 lost is too many to enumerate: sum of C(20, 0..4) * 2 / 2^20
    many = np.array([1.0] * 16 + [-1.0] * 4)
    assert sign_flip_p(many, draws=200_000) == pytest.approx(2 * sum(comb(20, i) for i in range(5)) / 2**20, rel=0.1)
    assert sign_flip_p(np.zeros(5)) == 1.0


def test_holm():
    # sorted .01*3, .02*2, .04*1 -> .03, .04, .04
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_pooling_refuses_to_mix_up_ids():
    assert pool({"a": [1]}, {"b": [0]}) == {"a": [1], "b": [0]}
    with pytest.raises(ValueError, match="share the problem"):
        pool({"a": [1]}, {"a": [0]})
