"""How long completions are: not all of the mean. A few run to the limit, and a batch waits for them."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

SPREAD = 0.8
"""Standard deviation of the logarithm of a length."""
AT_LIMIT = 0.03
"""Share of completions that stop at the limit, where the limit is four times the mean; less where it is farther."""
POINTS = 64
"""A batch of more completions is described by so many quantiles."""

_normal = NormalDist()


@dataclass(frozen=True)
class Lengths:
    """Lognormal, with a share at the limit; in tokens. The limit alone where the mean is no shorter.

    Example: Lengths(4096, 16384) has 3 % at 16,384, half of the others below 2,706.
    """

    mean: float
    limit: float

    @property
    def at_limit(self) -> float:
        """Share."""
        return 1.0 if self.mean >= self.limit else min(AT_LIMIT, 4 * AT_LIMIT * self.mean / self.limit)

    def quantile(self, share: float) -> float:
        """The length that this share of completions does not exceed."""
        ended = 1 - self.at_limit
        if share >= ended:
            return self.limit
        return min(self.limit, math.exp(_location(self.mean, self.limit) + SPREAD * _normal.inv_cdf(share / ended)))

    def of(self, count: int) -> tuple[float, ...]:
        """So many completions as they are most likely, shortest first."""
        return _quantiles(self, count)

    def attended(self, prompt: float) -> float:
        """Mean length of the row that a token of a prompt or a completion is in: long rows have more tokens."""
        rows = [prompt + length for length in self.of(POINTS)]
        return sum(row * row for row in rows) / sum(rows)

    def imbalance(self, rows: int, processes: int, prompt: float) -> float:
        """How much more the busiest of the trainer's processes has than the mean: longest first, each to the least."""
        return _imbalance(self, rows, processes, prompt)


@cache
def _quantiles(lengths: Lengths, count: int) -> tuple[float, ...]:
    return tuple(lengths.quantile((at + 0.5) / count) for at in range(count))


@cache
def _imbalance(lengths: Lengths, rows: int, processes: int, prompt: float) -> float:
    if processes == 1:
        return 0.0
    loads = [0.0] * processes
    for length in reversed(lengths.of(rows)):
        heapq.heapreplace(loads, loads[0] + prompt + length)
    return max(loads) * processes / sum(loads) - 1


@cache
def _location(mean: float, limit: float) -> float:
    """Of the lognormal part, such that the whole has this mean; found by bisection."""
    at_limit = Lengths(mean, limit).at_limit
    rest = (mean - at_limit * limit) / (1 - at_limit)
    low, high = math.log(rest) - 4, math.log(limit) + 4
    for _ in range(60):
        middle = (low + high) / 2
        if _mean_cut(middle, limit) < rest:
            low = middle
        else:
            high = middle
    return low


def _mean_cut(location: float, limit: float) -> float:
    """E min(X, limit) of a lognormal X."""
    at = (math.log(limit) - location) / SPREAD
    below = math.exp(location + SPREAD**2 / 2) * _normal.cdf(at - SPREAD)
    return below + limit * (1 - _normal.cdf(at))
