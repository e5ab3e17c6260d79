"""What k samples of n problems say, and how surely. Pure numpy; every formula with its source.

Two errors, and which one is meant is always said (Miller, "Adding Error Bars to Evals", arXiv 2411.00640):

- *problems fixed*: how far the score moves when the same problems are sampled again; for following one model.
- *problems drawn*: how far it moves with other problems of the kind; for claims about ability. Samples of one problem
  are a cluster, so this is the clustered standard error. Pooling n*k samples as if independent gives neither.

A sample is scored 1 or 0. Which problems count is settled before the first sample is drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import comb, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

DRAWS = 10_000
BOOTSTRAP_SEED = 20_240_717
CONFIDENCE = 0.95
POWER = 0.8


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A score with everything needed to believe it. Shares of 1, not percent.

    Example:
        Estimate(mean=0.25, problems=30, samples=16, se_fixed=0.015, se_drawn=0.055, low=0.15, high=0.36,
                 interval="bootstrap over problems", detectable_fixed=0.059, detectable_drawn=0.22)
    """

    mean: float
    """avg@k: the mean over problems of each problem's mean."""
    problems: int
    samples: int
    """The fewest scored samples any counted problem has."""
    se_fixed: float | None
    """None where some problem has one sample only, which says nothing about its own variance, and where no problem's
    samples differ: no variance was seen, and that is no error of zero."""
    se_drawn: float | None
    """None for a single problem, and where all problems score alike."""
    low: float
    high: float
    interval: str
    """How [low, high], the 95 % interval with problems drawn, was made."""
    detectable_fixed: float | None
    detectable_drawn: float | None
    """The smallest true difference to another such run that a two-sided 5 % test would see with 80 % power; None where
    no variance was seen, from which nothing follows."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def estimate(scores: Sequence[Sequence[float]], *, draws: int = DRAWS, seed: int = BOOTSTRAP_SEED) -> Estimate | None:
    """avg@k of `scores`, one inner sequence a problem. Problems without a scored sample do not count; None if none has.

    Example:
        estimate([[1, 0], [1, 1]]).mean == 0.75
    """
    counted = [np.asarray(samples, float) for samples in scores if len(samples)]
    if not counted:
        return None
    means_n = np.array([samples.mean() for samples in counted])
    fixed = _se_problems_fixed(counted)
    drawn = _se_problems_drawn(means_n)
    low, high, how = interval(means_n, draws=draws, seed=seed)
    return Estimate(
        mean=float(means_n.mean()),
        problems=len(counted),
        samples=min(len(samples) for samples in counted),
        se_fixed=fixed,
        se_drawn=drawn,
        low=low,
        high=high,
        interval=how,
        detectable_fixed=detectable(fixed),
        detectable_drawn=detectable(drawn),
    )


def _se_problems_fixed(scores: Sequence[np.ndarray]) -> float | None:
    """sqrt(sum_i s_i^2 / k_i) / n, s_i^2 the sample variance of problem i (arXiv 2411.00640, section 2.1)."""
    if min(len(samples) for samples in scores) < 2:
        return None
    return sqrt(sum(samples.var(ddof=1) / len(samples) for samples in scores)) / len(scores) or None


def _se_problems_drawn(means_n: np.ndarray) -> float | None:
    """sd of the per-problem means / sqrt(n): the clustered error for equal clusters (arXiv 2411.00640, section 2.2)."""
    if len(means_n) < 2 or np.ptp(means_n) == 0:
        return None
    return float(means_n.std(ddof=1) / sqrt(len(means_n)))


def detectable(standard_error: float | None) -> float | None:
    """(z_{1-alpha/2} + z_power) * sqrt(2) * SE: two independent runs alike (arXiv 2411.00640, section 5).

    A paired comparison of similar models detects less than this, so the figure is on the safe side.
    """
    if not standard_error:
        return None
    z = NormalDist().inv_cdf
    return (z(0.5 + CONFIDENCE / 2) + z(POWER)) * sqrt(2) * standard_error


def interval(means_n: np.ndarray, *, draws: int = DRAWS, seed: int = BOOTSTRAP_SEED) -> tuple[float, float, str]:
    """95 % interval of the mean over problems: percentile bootstrap, or Wilson's where that degenerates.

    Problems are resampled whole and samples within them are not: a problem's mean already carries its sampling noise
    (Davison and Hinkley, Bootstrap Methods, 1997, section 3.8). With fewer than five problems' worth of right or wrong
    answers the bootstrap hardly varies (0 of 30 would be "exactly 0"), so Wilson's score interval takes over; not where
    rewards of one's own leave the range of a share.
    """
    n, mean = len(means_n), float(means_n.mean())
    shares = means_n.min() >= 0 and means_n.max() <= 1
    if shares and n * min(mean, 1 - mean) < 5:
        return (*wilson(mean, n), "Wilson, on problems")
    low, high = np.quantile(bootstrap_means(means_n, draws, seed), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high), f"percentile bootstrap over problems, {draws} draws, seed {seed}"


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's score interval (JASA 22, 1927). For k > 1 samples it is wider than needed, never narrower."""
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At the ends the formula gives 0 and 1 exactly, up to rounding.
    return 0.0 if share == 0 else max(0.0, centre - half), 1.0 if share == 1 else min(1.0, centre + half)


def bootstrap_means(values_n: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Means of `draws` resamples of size n with replacement.

    A resample is a multinomial draw of how often each distinct value occurs; with k samples there are at most k + 1
    of them, so 5,000 problems cost what 17 do.
    """
    rng = np.random.default_rng(seed)
    distinct, counts = np.unique(values_n, return_counts=True)
    n = len(values_n)
    parts = np.array_split(np.arange(draws), max(1, draws * len(distinct) // 5_000_000))  # bounds memory to tens of MB
    return np.concatenate([rng.multinomial(n, counts / n, size=len(part)) @ distinct / n for part in parts])


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Unbiased chance that one of k samples is right: 1 - C(n-c, k) / C(n, k) (Chen et al., arXiv 2107.03374, eq. 1).

    Example:
        pass_at_k(4, 1, 2) == 0.5
    """
    if not 1 <= k <= n:
        raise ValueError(f"pass@k needs 1 <= k <= n, got k={k}, n={n}")
    if n - correct < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - correct + 1, n + 1)))


def pass_curve(scores: Sequence[Sequence[float]]) -> dict[int, float]:
    """pass@k, averaged over problems, for k = 1, 2, 4, ... up to the fewest samples any problem has."""
    counted = [samples for samples in scores if len(samples)]
    return {
        k: float(np.mean([pass_at_k(len(samples), sum(score >= 1 for score in samples), k) for samples in counted]))
        for k in curve_points(min((len(samples) for samples in counted), default=0))
    }


def curve_points(most: int) -> list[int]:
    """1, 2, 4, ... and `most` itself."""
    return sorted({*(2**i for i in range(most.bit_length())), most} - {0}) if most else []


RIGHT = 0
"""The class of answers that equal the reference."""


def maj_at_k(classes: Sequence[Sequence[int | None]], k: int) -> float:
    """How often the most frequent answer of k samples is right (self-consistency, Wang et al., arXiv 2203.11171).

    `classes` holds one class per sample: RIGHT, any other number for a wrong answer, None for no answer, which does
    not vote. A tie scores the right class's share of it instead of whatever came first. For k below the number of
    samples, the mean over all subsets of each problem: counted, not drawn, so that maj@1 is the score itself.

    Example:
        maj_at_k([[RIGHT, 1, None]], 3) == 0.5
    """
    return float(np.mean([_majority(row, k) for row in classes]))


def _majority(row: Sequence[int | None], k: int) -> float:
    """The mean over all k-subsets of a row.

    Subsets are counted by their votes: `ways[u, t]` is the number of ways to take u samples of the classes seen so far
    so that t of these tie with the right class, which has `votes`, and none has more.
    """
    if not 1 <= k <= len(row):
        raise ValueError(f"maj@k needs 1 <= k <= n, got k={k}, n={len(row)}")
    counts = Counter(row)
    right, silent = counts.pop(RIGHT, 0), counts.pop(None, 0)
    won = 0.0
    for votes in range(1, min(right, k) + 1):
        rest = k - votes
        ways = np.zeros((rest + 1, rest // votes + 1))
        ways[:, 0] = [comb(silent, taken) for taken in range(rest + 1)]
        for count in counts.values():
            before, ways = ways, ways.copy()
            for taken in range(1, min(count, votes, rest) + 1):
                ties = int(taken == votes)
                shifted = before[: rest + 1 - taken, : before.shape[1] - ties]
                ways[taken:, ties:] += comb(count, taken) * shifted
        won += comb(right, votes) * float((ways[rest] / np.arange(1, ways.shape[1] + 1)).sum())
    return won / comb(len(row), k)


def pool(*suites: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    """Several suites as one set of problems (AIME 2024 and 2025: 60), each problem weighing the same."""
    together: dict[str, Sequence[float]] = {}
    for scores in suites:
        if shared := together.keys() & scores.keys():
            raise ValueError(f"suites to be pooled share the problem {min(shared)!r}")
        together |= scores
    return together
