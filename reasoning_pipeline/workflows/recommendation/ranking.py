"""Where the item that a user took stands among others of its domain: candidates, ranks, and what is made of them.

Three rankings, since the usual one proves little: against a hundred negatives drawn uniformly a model scores well by
knowing what is popular; drawn by popularity, that no longer helps; `full` ranks all that the user has not taken.
Candidates follow from the seed and the user alone, so every model is asked the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reasoning_pipeline.base.fingerprint import seed_from
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.workflows.recommendation.histories import Histories, Part

Ranking = Literal["uniform", "popularity", "full"]
RANKINGS: tuple[Ranking, ...] = ("uniform", "popularity", "full")
CHUNK = 256
"""Users scored at once in a full ranking: 256 x 36,000 scores are 37 MB."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One user's question.

    Example:
        Case(user="overlap/7", history=(14, 811, 20), target=9, domain=0)
    """

    user: str
    history: tuple[int, ...]
    target: int
    domain: int


def cases_of(histories: Histories, part: Part) -> list[Case]:
    """In the histories' order."""
    return [
        Case(user=user.user, history=known, target=target, domain=int(histories.domain_N[target]))
        for user, known, target in histories.cases(part)
    ]


class Negatives:
    """Draws, for each case, items of the target's domain that the user has not taken."""

    def __init__(self, domain_N: np.ndarray, counts_N: np.ndarray, count: int, seed: int) -> None:
        self.counts_N, self.count, self.seed = counts_N, count, seed
        self._pools = [np.flatnonzero(domain_N == domain) for domain in range(int(domain_N.max()) + 1)]
        self._sums = [np.cumsum(counts_N[pool]).astype(float) for pool in self._pools]
        self._drawn: dict[tuple[str, Ranking], np.ndarray] = {}

    def drawn(self, case: Case, ranking: Ranking) -> np.ndarray:
        """[count] items, none twice: uniformly, or one after the other in proportion to how often each was taken. Of
        one user and ranking they are drawn once.

        Raises:
            DataError: The domain has too few items that the user has not taken.
        """
        key = case.user, ranking
        if key not in self._drawn:
            self._drawn[key] = self._draw(case, ranking)
        return self._drawn[key]

    def _draw(self, case: Case, ranking: Ranking) -> np.ndarray:
        pool, taken = self._pools[case.domain], {*case.history, case.target}
        rng = np.random.default_rng(seed_from(f"{self.seed}/{ranking}/{case.user}"))
        found: dict[int, None] = {}
        rounds = 20 if len(pool) > 4 * self.count else 0
        for _ in range(rounds):  # with replacement and repeats dropped is the same as without, and far faster
            if ranking == "uniform" or self._sums[case.domain][-1] == 0:
                places = rng.integers(len(pool), size=2 * self.count)
            else:
                sums = self._sums[case.domain]
                places = np.searchsorted(sums, rng.random(2 * self.count) * sums[-1], side="right")
            found |= dict.fromkeys(item for item in pool[places].tolist() if item not in taken)
            if len(found) >= self.count:
                return np.fromiter(found, int)[: self.count]
        left = np.array([item for item in pool.tolist() if item not in taken and item not in found], int)
        if len(found) + len(left) < self.count:
            raise DataError(
                f"{case.user}: the domain of the target has {len(found) + len(left)} items that this user has not "
                f"taken, {self.count} negatives are asked",
                remedy="lower `negatives`, or give a larger catalogue",
            )
        # A few to choose among: in the order of exponential waits, which is drawing without replacement. Items that
        # nobody took come last, where popularity decides.
        rates = np.ones(len(left)) if ranking == "uniform" else np.maximum(self.counts_N[left], 1e-9)
        order = np.argsort(rng.exponential(size=len(left)) / rates)
        return np.concatenate([np.fromiter(found, int), left[order]])[: self.count].astype(int)


@dataclass(frozen=True)
class Scorer:
    """Whatever ranks items here: a score is the product of a user's vector and an item's.

    Phase 2's sum h·E + h'·E is (h + h')·E, popularity a vector of one number: nothing needs another form.
    """

    queries: Callable[[Sequence[tuple[int, ...]], Sequence[int]], np.ndarray]
    """Histories, and the domain asked for in each -> [users, D]."""
    items_ND: np.ndarray


def popularity(counts_N: np.ndarray) -> Scorer:
    return Scorer(
        lambda histories, domains: np.ones((len(histories), 1), np.float32), counts_N[:, None].astype(np.float32)
    )


def title_cosine(vectors_NX: np.ndarray) -> Scorer:
    """Untrained: cosine to the mean of the history's titles."""
    return Scorer(
        lambda histories, domains: np.stack([vectors_NX[list(h)].mean(axis=0) for h in histories]), vectors_NX
    )


def random_scores(count: int, seed: int) -> Scorer:
    """Each item a number by chance: what can be had for nothing."""
    rng = np.random.default_rng(seed)
    return Scorer(
        lambda histories, domains: rng.standard_normal((len(histories), 16)).astype(np.float32),
        rng.standard_normal((count, 16)).astype(np.float32),
    )


def rank(target: float, others: np.ndarray) -> int:
    """1 is best. Pessimistic: whoever scores the same stands before the target, and a score that is no number does."""
    return 1 + int((~(others < target)).sum())


def ranks(
    scorer: Scorer, cases: Sequence[Case], negatives: Negatives, ranking: Ranking, domain_N: np.ndarray
) -> np.ndarray:
    """[cases]: the target's place among its candidates."""
    found = np.empty(len(cases), int)
    for start, queries in _queries(scorer, cases):
        chunk = cases[start : start + len(queries)]
        targets = np.array([case.target for case in chunk])
        if ranking == "full":
            scores = queries @ scorer.items_ND.T
            for row, case in enumerate(chunk):
                inside = domain_N == case.domain
                inside[list(case.history)] = False
                inside[case.target] = False
                found[start + row] = rank(scores[row, case.target], scores[row, inside])
        else:
            others = np.stack([negatives.drawn(case, ranking) for case in chunk])
            # The target's score in the same product as the others': equal items get equal scores to the last bit.
            scores = np.einsum("ud,ucd->uc", queries, scorer.items_ND[np.column_stack([targets, others])])
            for row in range(len(chunk)):
                found[start + row] = rank(scores[row, 0], scores[row, 1:])
    return found


def _queries(scorer: Scorer, cases: Sequence[Case]) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(cases), CHUNK):
        chunk = cases[start : start + CHUNK]
        yield start, scorer.queries([case.history for case in chunk], [case.domain for case in chunk])


def figures(ranks_U: np.ndarray, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Per user: hr@k is whether the target is among the first k, ndcg@k 1/log2(1 + rank) where it is, mrr 1/rank."""
    found: dict[str, np.ndarray] = {}
    for k in ks:
        hit = ranks_U <= k
        found[f"hr@{k}"] = hit.astype(float)
        found[f"ndcg@{k}"] = np.where(hit, 1 / np.log2(1 + ranks_U), 0.0)
    return found | {"mrr": 1 / ranks_U}


def groups(cases: Sequence[Case], histories_domains: Sequence[str], counts_N: np.ndarray) -> dict[str, np.ndarray]:
    """Name -> [cases], whether a case belongs: by domain, by length of history, by how popular the target is."""
    lengths, taken = np.array([len(c.history) for c in cases]), np.array([counts_N[c.target] for c in cases])
    found = {f"domain {name}": np.array([c.domain == n for c in cases]) for n, name in enumerate(histories_domains)}
    for name, values in (("history", lengths), ("target taken", taken)):
        low, high = (int(np.quantile(values, share)) for share in (1 / 3, 2 / 3)) if len(values) else (0, 0)
        found[f"{name} up to {low}"] = values <= low
        found[f"{name} {low + 1} to {high}"] = (values > low) & (values <= high)
        found[f"{name} above {high}"] = values > high
    return {name: mask for name, mask in found.items() if mask.any()}
