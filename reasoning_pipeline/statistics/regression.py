"""A linear model of few rows: ridge regression, with an error measured on rows that were left out.

Predictors are brought to mean 0 and standard deviation 1, so that one penalty fits all: b minimises
|y - mean - X b|^2 + l |b|^2 (Hoerl and Kennard, Technometrics 12, 1970). The penalty is chosen among a few by
leave-one-out error, which ridge has in closed form: residual / (1 - leverage) (Allen, Technometrics 16, 1974). The
error that is reported leaves each row out of everything, the choice of the penalty and the standardisation too, and
stands beside that of predicting the mean of the other rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
"""Of standardised predictors. The largest is nearly the mean."""
DRAWS, BOOTSTRAP_SEED = 1_000, 0
LEAST_ROWS = 4
"""Leaving one out and choosing on the rest needs three rows to choose on."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a regression found. In units of y.

    Example:
        Fitted(names=("start", "labels"), coefficients=(-0.08, 0.01), low=(-0.11, -0.02), high=(-0.04, 0.03), mean=0.05,
               penalty=1.0, rows=12, error=0.06, error_of_mean=0.11)
    """

    names: tuple[str, ...]
    coefficients: tuple[float, ...]
    """Change of y for a standard deviation of the predictor, the others held."""
    low: tuple[float, ...]
    high: tuple[float, ...]
    """Ends of 95 % intervals: rows drawn with replacement."""
    mean: float
    """Of y."""
    penalty: float
    rows: int
    error: float
    """Root mean squared error on rows left out, one after the other."""
    error_of_mean: float
    """The same of predicting the mean of the other rows: what the regression has to beat."""

    @property
    def tells(self) -> bool:
        """Whether it predicts rows that it has not seen better than their mean does."""
        return self.error < self.error_of_mean


def fit(names: Sequence[str], x_NP: Sequence[Sequence[float]], y_N: Sequence[float]) -> Fitted | None:
    """None where there are too few rows to leave one out and choose on the rest.

    Args:
        x_NP: A row a case, a column a predictor, finite. A column that does not vary gets the coefficient 0.
    """
    x, y = np.asarray(x_NP, float).reshape(len(y_N), len(names)), np.asarray(y_N, float)
    if len(y) < LEAST_ROWS:
        return None
    penalty = _chosen(x, y)
    coefficients = _ridge(x, y, penalty)[0]
    drawn = np.random.default_rng(BOOTSTRAP_SEED).integers(len(y), size=(DRAWS, len(y)))
    # In units of the whole sample's standard deviations, so that draws can be compared.
    scales = _scales(x)
    draws = np.array([_ridge(x[rows], y[rows], penalty)[0] / _scales(x[rows]) * scales for rows in drawn])
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    left_out = [_without(x, y, row) for row in range(len(y))]
    means = [np.delete(y, row).mean() for row in range(len(y))]
    return Fitted(
        names=tuple(names),
        coefficients=tuple(map(float, coefficients)),
        low=tuple(map(float, low)),
        high=tuple(map(float, high)),
        mean=float(y.mean()),
        penalty=penalty,
        rows=len(y),
        error=_rms(y - np.array(left_out)),
        error_of_mean=_rms(y - np.array(means)),
    )


def _without(x: np.ndarray, y: np.ndarray, row: int) -> float:
    """What is predicted for a row by the others."""
    rest_x, rest_y = np.delete(x, row, axis=0), np.delete(y, row)
    coefficients, _ = _ridge(rest_x, rest_y, _chosen(rest_x, rest_y))
    standardised = (x[row] - rest_x.mean(axis=0)) / _scales(rest_x)
    return float(rest_y.mean() + standardised @ coefficients)


def _chosen(x: np.ndarray, y: np.ndarray) -> float:
    """The penalty with the least leave-one-out error; of several as good, the largest."""

    def press(penalty: float) -> float:
        _, leverages = _ridge(x, y, penalty)
        z = (x - x.mean(axis=0)) / _scales(x)
        fitted = y.mean() + z @ _ridge(x, y, penalty)[0]
        return _rms((y - fitted) / (1 - leverages))

    return min(reversed(PENALTIES), key=press)


def _ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """(coefficients of standardised predictors, leverage of each row, the intercept's 1/N included)."""
    z = (x - x.mean(axis=0)) / _scales(x)
    inverse = np.linalg.inv(z.T @ z + penalty * np.eye(z.shape[1]))
    return inverse @ z.T @ (y - y.mean()), np.einsum("np,pq,nq->n", z, inverse, z) + 1 / len(y)


def _scales(x: np.ndarray) -> np.ndarray:
    """Standard deviations; 1 for a predictor that does not vary, which then stays at 0."""
    found = x.std(axis=0)
    return np.where(found > 1e-12, found, 1.0)


def _rms(errors: np.ndarray) -> float:
    return float(np.sqrt((errors**2).mean()))


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Where a case lies among rows.

    Example:
        Placed(outside=("labels",), nearest=(3, 7, 1), distance=2.4, usual=0.9)
    """

    outside: tuple[str, ...]
    """Predictors whose value is below the least or above the largest of the rows."""
    nearest: tuple[int, ...]
    """Rows, the nearest first."""
    distance: float
    """To the nearest row, in standard deviations: the root mean square over predictors."""
    usual: float
    """The largest such distance of a row to its own nearest neighbour; 0 for a single row."""

    @property
    def extrapolates(self) -> bool:
        """Whether the case is outside of a range, or farther from all rows than any of them is from the others."""
        return bool(self.outside) or self.distance > self.usual


def place(names: Sequence[str], x_NP: Sequence[Sequence[float]], case_P: Sequence[float]) -> Placed:
    """Raises ValueError where there are no rows."""
    x, case = np.asarray(x_NP, float), np.asarray(case_P, float)
    if not len(x):
        raise ValueError("no rows to place a case among")
    z, at = x / _scales(x), case / _scales(x)
    distances = np.sqrt(((z - at) ** 2).mean(axis=1))
    between = np.sqrt(((z[:, None] - z[None]) ** 2).mean(axis=2)) + np.diag([np.inf] * len(z))
    outside = [name for name, column, value in zip(names, x.T, case, strict=True) if not _within(column, value)]
    return Placed(
        outside=tuple(outside),
        nearest=tuple(int(row) for row in np.argsort(distances, kind="stable")),
        distance=float(distances.min()),
        usual=float(between.min(axis=1).max()) if len(z) > 1 else 0.0,
    )


def _within(column: np.ndarray, value: float) -> bool:
    slack = 1e-9 * max(1.0, float(np.abs(column).max()))
    return bool(column.min() - slack <= value <= column.max() + slack)
