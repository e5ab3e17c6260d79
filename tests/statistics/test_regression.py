"""A known line is recovered, noise is not mistaken for one, and a case outside of the rows is told."""

from __future__ import annotations

import numpy as np
import pytest

from reasoning_pipeline.statistics.regression import LEAST_ROWS, fit, place


def rows(count: int, seed: int = 0) -> np.ndarray:
    """Three predictors in units of their own."""
    return np.random.default_rng(seed).normal(size=(count, 3)) * [0.2, 3.0, 1.0] + [0.4, 8.0, -1.0]


def test_a_known_line_is_recovered():
    x = rows(24)
    y = 0.05 - 0.5 * x[:, 0] + 0.02 * x[:, 1] + np.random.default_rng(1).normal(scale=0.005, size=24)
    found = fit(("start", "labels", "nothing"), x, y)
    assert found is not None and found.rows == 24
    # a coefficient is the change for one standard deviation of its predictor
    expected = [-0.5 * x[:, 0].std(), 0.02 * x[:, 1].std(), 0.0]
    assert found.coefficients == pytest.approx(expected, abs=0.005)
    assert all(low <= value <= high for low, value, high in zip(found.low, found.coefficients, found.high, strict=True))
    assert found.low[2] < 0 < found.high[2] and found.high[0] < 0 < found.low[1]
    assert found.tells and found.error < 0.01 < found.error_of_mean


def test_noise_tells_nothing():
    # ten sets of pure noise: what is left out is not predicted better than by the mean, but for a chance few
    told = 0
    for seed in range(10):
        found = fit(("a", "b", "c"), rows(10, seed), np.random.default_rng(100 + seed).normal(size=10))
        assert found is not None
        told += found.error < 0.9 * found.error_of_mean
    assert told <= 1


def test_the_error_of_a_row_left_out_by_hand():
    # y is the predictor itself; the mean of the others of 0, 1, 2, 3 misses by 2, 2/3, 2/3 and 2
    found = fit(("x",), [[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 2.0, 3.0])
    assert found is not None
    assert found.error_of_mean == pytest.approx(np.sqrt((2 * 4 + 2 * 4 / 9) / 4))
    assert found.error < 0.3


def test_a_predictor_that_does_not_vary_stays_out():
    x = np.column_stack([rows(8)[:, 0], np.full(8, 7.0)])
    found = fit(("start", "constant"), x, x[:, 0])
    assert found is not None and found.coefficients[1] == 0.0 and found.low[1] == found.high[1] == 0.0


def test_too_few_rows_are_no_regression():
    assert fit(("x",), [[float(n)] for n in range(LEAST_ROWS - 1)], list(range(LEAST_ROWS - 1))) is None


def test_a_case_among_the_rows_and_one_outside():
    x = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    inside = place(("start", "labels"), x, (0.9, 0.1))
    assert inside.nearest[0] == 2 and inside.outside == () and not inside.extrapolates
    # standard deviations are 1/2 each: the nearest neighbour of a corner is sqrt(2^2 / 2) away
    assert inside.usual == pytest.approx(np.sqrt(2)) and inside.distance == pytest.approx(0.2)
    beyond = place(("start", "labels"), x, (0.5, 9.0))
    assert beyond.outside == ("labels",) and beyond.extrapolates and beyond.distance > beyond.usual


def test_a_hole_in_the_map_is_told_although_every_range_holds_the_case():
    x = [[0.0, 0.0], [0.1, 0.1], [0.9, 0.9], [1.0, 1.0]]
    found = place(("start", "labels"), x, (0.1, 0.9))
    assert found.outside == () and found.extrapolates
    with pytest.raises(ValueError, match="no rows"):
        place(("start",), [], (0.1,))
