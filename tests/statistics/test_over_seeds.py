"""Problems and seeds are crossed: an interval must hold for other problems and other seeds, and say so honestly."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from reasoning_pipeline.statistics.over_seeds import Scores, crossed_difference, crossed_mean, holm
from reasoning_pipeline.statistics.scores import estimate


def scores(table: np.ndarray) -> Scores:
    return [{f"p{i}": float(value) for i, value in enumerate(row)} for row in table]


def test_two_seeds_and_two_problems_by_hand():
    # seeds 0.5 and 1, problems 1 and 0.5, mean 0.75; all three mean squares are 0.25, so the variance is
    # (0.25 + 0.25 - 0.25) / 4
    found = crossed_mean(scores(np.array([[1.0, 0.0], [1.0, 1.0]])))
    assert found is not None and found.se is not None
    assert (found.mean, found.by_seed, found.seeds, found.problems) == (0.75, (0.5, 1.0), 2, 2)
    assert found.se == pytest.approx(sqrt(0.25 / 4))
    # Satterthwaite: 0.25^2 / (3 x 0.25^2 / 1) is a third, and less than one is not used
    assert (found.df, found.low, found.high) == (1.0, 0.0, 1.0)


def test_one_seed_gives_the_clustered_error_of_an_evaluation():
    table = np.random.default_rng(3).random((1, 40))
    found, known = crossed_mean(scores(table)), estimate([[value] for value in table[0]])
    assert found is not None and known is not None
    assert (found.mean, found.se) == (pytest.approx(known.mean), pytest.approx(known.se_drawn))


def test_only_problems_that_every_seed_scored_count():
    found = crossed_mean([{"a": 1.0, "b": 0.0, "c": 1.0}, {"b": 1.0, "a": 1.0}])
    assert found is not None and (found.problems, found.mean) == (2, 0.75)
    assert crossed_mean([{"a": 1.0}, {"b": 1.0}]) is None and crossed_mean([]) is None
    single = crossed_mean([{"a": 1.0}])
    assert single is not None and (single.mean, single.se, single.low) == (1.0, None, None)


def world(rng: np.random.Generator, seeds: int, problems: int, *, shift: float = 0.0) -> np.ndarray:
    """Scores with mean 0.5 + shift, spread 0.05 over seeds, 0.2 over problems, 0.1 besides."""
    parts = rng.normal(0, 0.05, (seeds, 1)), rng.normal(0, 0.2, (1, problems)), rng.normal(0, 0.1, (seeds, problems))
    return 0.5 + shift + sum(parts)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    crossed = pooled = 0
    for _ in range(600):
        table = world(rng, 5, 60)
        found = crossed_mean(scores(table))
        assert found is not None and found.low is not None and found.high is not None
        crossed += found.low <= 0.5 <= found.high
        pooled += abs(table.mean() - 0.5) <= 1.96 * table.std(ddof=1) / sqrt(table.size)
    # the standard error of such a share is 0.009; pooling all answers as independent misses far more often
    assert 0.92 < crossed / 600 < 0.985
    assert pooled / 600 < 0.75


def test_a_difference_is_paired_and_no_difference_is_seldom_called_one():
    rng = np.random.default_rng(1)
    false = 0
    for _ in range(600):
        shared = world(rng, 5, 60)
        ours = shared + world(rng, 5, 60) * 0.3
        found = crossed_difference(scores(ours), scores(shared + 0.15))
        assert found is not None and found.p is not None
        false += found.p < 0.05
    assert 0.01 < false / 600 < 0.085
    same = crossed_difference(scores(shared), scores(shared))
    assert same is not None and (same.mean, same.p) == (0.0, 1.0)
    better = crossed_difference(scores(ours + 0.2), scores(shared + 0.15))
    assert (
        better is not None and better.p is not None and better.p < 0.01 and better.mean == pytest.approx(0.2, abs=0.1)
    )


def test_other_seeds_widen_the_interval_even_where_problems_are_many():
    rng = np.random.default_rng(2)
    few, many = (crossed_mean(scores(world(rng, 3, problems))) for problems in (50, 5000))
    assert few is not None and many is not None and few.se is not None and many.se is not None
    # 5,000 problems alone would give 0.2 / sqrt(5000) = 0.003; three seeds of spread 0.05 give about 0.03
    assert many.se > 0.008


def test_what_cannot_be_paired_is_refused():
    with pytest.raises(ValueError, match="2 and 1 seeds cannot be paired"):
        crossed_difference(scores(np.ones((2, 3))), scores(np.ones((1, 3))))


def test_holm_keeps_order_and_never_exceeds_one():
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
