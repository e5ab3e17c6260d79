"""Means over problems and seeds at once, with intervals that generalise to other problems and other seeds.

Every seed answers the same problems, so the two are crossed, not nested: pooling all answers as independent would give
errors that are far too small. Model: score[s, p] = mean + seed[s] + problem[p] + rest[s, p], all random.

- Variance of the grand mean over S seeds and P problems: (MS_seeds + MS_problems - MS_rest) / (S P), the mean squares
  of the two-way analysis of variance without replication (Searle, Casella and McCulloch, Variance Components, 1992,
  chapter 4; the same combination as the two-way clustered error of Cameron, Gelbach and Miller, JBES 29, 2011).
- Its degrees of freedom: Satterthwaite's (Biometrics Bulletin 2, 1946). With five seeds these are few, and the t
  quantile takes account of that.
- With a single seed nothing can be said about other seeds: the error is that of problems drawn.

Differences between arms are taken seed by seed and problem by problem, and treated in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np

CONFIDENCE = 0.95

Scores = Sequence[Mapping[str, float]]
"""Per seed: problem -> mean score of its samples."""


@dataclass(frozen=True, kw_only=True)
class Crossed:
    """A mean over seeds and problems, or a difference of two such means. Shares of 1.

    Example:
        Crossed(mean=0.929, se=0.019, low=0.877, high=0.981, df=4.3, seeds=5, problems=500,
                by_seed=(0.902, 0.984, 0.879, 0.946, 0.934), p=None)
    """

    mean: float
    se: float | None
    """None where there is a single problem."""
    low: float | None
    """Ends of the 95 % interval."""
    high: float | None
    df: float | None
    seeds: int
    problems: int
    by_seed: tuple[float, ...]
    p: float | None = None
    """Two-sided t test of "no difference"; only differences have one."""


def crossed_mean(scores: Scores) -> Crossed | None:
    """Over the problems that every seed has a score for; None where there is none."""
    table = _table(scores)
    return None if table is None else _estimate(table, ends=(0.0, 1.0))


def crossed_difference(ours: Scores, theirs: Scores) -> Crossed | None:
    """`ours` minus `theirs`; the two list the same seeds in the same order."""
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} and {len(theirs)} seeds cannot be paired")
    shared = [{p: a[p] - b[p] for p in a if p in b} for a, b in zip(ours, theirs, strict=True)]
    table = _table(shared)
    return None if table is None else _estimate(table, ends=(-1.0, 1.0), test=True)


def _table(scores: Scores) -> np.ndarray | None:
    """[S, P], the problems that all seeds have."""
    if not scores:
        return None
    names = [name for name in scores[0] if all(name in other for other in scores)]
    return np.array([[seed[name] for name in names] for seed in scores]) if names else None


def _estimate(table_SP: np.ndarray, *, ends: tuple[float, float], test: bool = False) -> Crossed:
    from scipy.special import stdtr, stdtrit

    seeds, problems = table_SP.shape
    mean = float(table_SP.mean())
    variance, df = _variance(table_SP)
    by_seed = tuple(float(value) for value in table_SP.mean(axis=1))
    if variance is None or df is None:
        return Crossed(
            mean=mean, se=None, low=None, high=None, df=None, seeds=seeds, problems=problems, by_seed=by_seed
        )
    se = sqrt(variance)
    half = float(stdtrit(df, 0.5 + CONFIDENCE / 2)) * se
    p = None
    if test:
        p = 1.0 if mean == 0 else 0.0 if se == 0 else float(2 * stdtr(df, -abs(mean) / se))
    return Crossed(
        mean=mean,
        se=se,
        low=max(ends[0], mean - half),
        high=min(ends[1], mean + half),
        df=df,
        seeds=seeds,
        problems=problems,
        by_seed=by_seed,
        p=p,
    )


def _variance(table_SP: np.ndarray) -> tuple[float | None, float | None]:
    """(variance of the grand mean, degrees of freedom); None where nothing varies that could tell."""
    seeds, problems = table_SP.shape
    if problems < 2:
        return None, None
    rows, columns, mean = table_SP.mean(axis=1), table_SP.mean(axis=0), table_SP.mean()
    if seeds == 1:
        return float(table_SP.var(ddof=1) / problems), float(problems - 1)
    ms_seeds = float(problems * ((rows - mean) ** 2).sum() / (seeds - 1))
    ms_problems = float(seeds * ((columns - mean) ** 2).sum() / (problems - 1))
    rest = table_SP - rows[:, None] - columns[None, :] + mean
    ms_rest = float((rest**2).sum() / ((seeds - 1) * (problems - 1)))
    # By chance the combination can fall below what one of the two alone explains; the larger of these is then taken.
    combined = max(ms_seeds + ms_problems - ms_rest, ms_seeds, ms_problems)
    spread = ms_seeds**2 / (seeds - 1) + ms_problems**2 / (problems - 1) + ms_rest**2 / ((seeds - 1) * (problems - 1))
    df = combined**2 / spread if spread else float(seeds - 1)
    return combined / (seeds * problems), max(1.0, df) if isfinite(df) else float(seeds - 1)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979), in the order given.

    Example:
        holm([0.01, 0.04]) == [0.02, 0.04]
    """
    corrected = [0.0] * len(ps)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        running = max(running, min(1.0, (len(ps) - rank) * ps[index]))
        corrected[index] = running
    return corrected
