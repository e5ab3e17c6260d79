"""Two runs over the same problems, compared problem by problem. Pure numpy; every formula with its source.

Hard problems are hard for both models, so the difference per problem varies far less than either score: pairing is a
free gain in precision (arXiv 2411.00640, section 4.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from math import sqrt
from typing import Any

import numpy as np

from reasoning_pipeline.statistics.over_seeds import holm
from reasoning_pipeline.statistics.scores import BOOTSTRAP_SEED, CONFIDENCE, DRAWS, bootstrap_means, detectable

__all__ = ["Paired", "compare", "holm", "sign_flip_p"]

EXACT_UP_TO = 12
"""With so few unequal problems all sign patterns are enumerated (4,096) instead of drawn."""


@dataclass(frozen=True, kw_only=True)
class Paired:
    """B minus A, over the problems both have scores for.

    Example:
        Paired(difference=0.06, se=0.02, low=0.02, high=0.1, p=0.004, p_holm=0.008, problems=500, won=61, lost=31,
               tied=408, detectable=0.056)
    """

    difference: float
    se: float | None
    """sd of the per-problem differences / sqrt(n); None for a single problem."""
    low: float
    high: float
    """95 % paired bootstrap over problems."""
    p: float
    """Two-sided sign-flip permutation test of "no difference"."""
    p_holm: float
    """p corrected for the number of checkpoints compared at once; equal to p for one."""
    problems: int
    won: int
    """Problems on which B's mean is higher."""
    lost: int
    tied: int
    detectable: float | None
    """The smallest true difference this pairing would have seen with 80 % power."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(
    a: Mapping[str, Sequence[float]],
    b: Mapping[str, Sequence[float]],
    *,
    draws: int = DRAWS,
    seed: int = BOOTSTRAP_SEED,
) -> Paired:
    """Scores per problem id of two runs. Problems that either could not score are left out of both.

    Raises ValueError where no problem is left.
    """
    shared = [name for name in a if len(a[name]) and len(b.get(name, ()))]
    if not shared:
        raise ValueError("the two runs have no scored problem in common")
    d_n = np.array([np.mean(b[name]) - np.mean(a[name]) for name in shared])
    d_n[np.abs(d_n) < 1e-12] = 0.0
    n = len(d_n)
    se = float(d_n.std(ddof=1) / sqrt(n)) if n > 1 else None
    low, high = np.quantile(bootstrap_means(d_n, draws, seed), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    p = sign_flip_p(d_n, draws=draws, seed=seed)
    return Paired(
        difference=float(d_n.mean()),
        se=se,
        low=float(low),
        high=float(high),
        p=p,
        p_holm=p,
        problems=n,
        won=int((d_n > 0).sum()),
        lost=int((d_n < 0).sum()),
        tied=int((d_n == 0).sum()),
        # `detectable` is for two independent runs; a pairing's SE is already that of the difference.
        detectable=detectable(None if se is None else se / sqrt(2)),
    )


def sign_flip_p(d_n: np.ndarray, *, draws: int = DRAWS, seed: int = BOOTSTRAP_SEED) -> float:
    """Two-sided p of "each difference could as well have had the other sign" (Fisher's randomisation test, 1935).

    Exact for few unequal problems; else (1 + as extreme) / (1 + draws), never 0 (Phipson and Smyth, SAGMB 9, 2010).
    With one sample a problem this is McNemar's exact test.
    """
    sizes = np.abs(d_n[d_n != 0])
    if not len(sizes):
        return 1.0
    observed = abs(d_n.sum()) - 1e-9
    if len(sizes) <= EXACT_UP_TO:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(sizes))))
        return float((np.abs(signs @ sizes) >= observed).mean())
    rng = np.random.default_rng(seed)
    # Flipping m differences of one size is a binomial draw, so 5,000 problems cost what their few distinct sizes do.
    distinct, counts = np.unique(sizes, return_counts=True)
    sums_D = (2 * rng.binomial(counts, 0.5, size=(draws, len(counts))) - counts) @ distinct
    return float((1 + (np.abs(sums_D) >= observed).sum()) / (1 + draws))
