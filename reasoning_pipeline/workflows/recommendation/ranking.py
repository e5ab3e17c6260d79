"""Where the item that a user took stands among others of its domain: candidates, ranks, and what is made of them.

Three rankings, since the usual one proves little: against a hundred negatives drawn uniformly a model scores well by
knowing what is popular; drawn by popularity, that no longer helps; `full` ranks all that the user has not taken.
Candidates follow from the seed and the user alone, so every model is asked the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from reasoning_pipeline.base.files import table, write_json
from reasoning_pipeline.base.fingerprint import seed_from
from reasoning_pipeline.base.jsonl import lines
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.statistics.scores import estimate
from reasoning_pipeline.workflows.recommendation.bundle import Bundle, Scorer, popularity, title_cosine
from reasoning_pipeline.workflows.recommendation.histories import Case, places_of
from reasoning_pipeline.workflows.recommendation.settings import Ranking, Rankings

BESIDE = ("popularity", "title_cosine", "chance")
FIVE = 5
COLUMNS = ("problem", "samples", "scored", "right", "mean", "domain", "rank", "ndcg")
CHUNK = 256
"""Users scored at once in a full ranking: 256 x 36,000 scores are 37 MB."""


class Negatives:
    """Draws, for each case, items of the target's domain that the user has not taken."""

    def __init__(self, domain_N: np.ndarray, counts_N: np.ndarray, count: int, seed: int) -> None:
        self.domain_N, self.counts_N, self.count, self.seed = domain_N, counts_N, count, seed
        self._places = places_of(domain_N)
        self._sums = [np.cumsum(counts_N[places]).astype(float) for places in self._places]
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
        pool, sums, taken = self._places[case.domain], self._sums[case.domain], {*case.history, case.target}
        rng = np.random.default_rng(seed_from(f"{self.seed}/{ranking}/{case.user}"))
        found: dict[int, None] = {}
        for _ in range(20 if len(pool) > 4 * self.count else 0):
            # With replacement and repeats dropped is the same as without, and far faster.
            if ranking == "uniform" or sums[-1] == 0:
                places = rng.integers(len(pool), size=2 * self.count)
            else:
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


def random_scores(count: int, seed: int) -> Scorer:
    """Each item a number by chance: what can be had for nothing."""
    rng = np.random.default_rng(seed)
    return Scorer(
        lambda histories, domains: rng.standard_normal((len(histories), 16)).astype(np.float32),
        rng.standard_normal((count, 16)).astype(np.float32),
    )


def rank(target: ArrayLike, others: np.ndarray) -> np.ndarray:
    """[...] of scores [...] and [..., C]; 1 is best. Pessimistic: whoever scores the same stands before the target, and
    a score that is no number does."""
    return np.asarray(1 + (~(others < np.expand_dims(target, -1))).sum(-1))


def ranks(scorer: Scorer, cases: Sequence[Case], negatives: Negatives, ranking: Ranking) -> np.ndarray:
    """[cases]: the target's place among its candidates."""
    found = []
    for start in range(0, len(cases), CHUNK):
        chunk = cases[start : start + CHUNK]
        queries = scorer.queries([case.history for case in chunk], [case.domain for case in chunk])
        targets = np.array([case.target for case in chunk])
        if ranking == "full":
            for case, scores in zip(chunk, queries @ scorer.items_ND.T, strict=True):
                others_N = negatives.domain_N == case.domain
                others_N[[*case.history, case.target]] = False
                found.append(rank(scores[case.target], scores[others_N]))
        else:
            others = np.stack([negatives.drawn(case, ranking) for case in chunk])
            # The target's score in the same product as the others': equal items get equal scores to the last bit.
            scores = np.einsum("ud,ucd->uc", queries, scorer.items_ND[np.column_stack([targets, others])])
            found.extend(rank(scores[:, 0], scores[:, 1:]))
    return np.array(found, int)


def figures(ranks_U: np.ndarray, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Per user: hr@k is whether the target is among the first k, ndcg@k 1/log2(1 + rank) where it is, mrr 1/rank."""
    found: dict[str, np.ndarray] = {}
    for k in ks:
        hit = ranks_U <= k
        found[f"hr@{k}"] = hit.astype(float)
        found[f"ndcg@{k}"] = np.where(hit, 1 / np.log2(1 + ranks_U), 0.0)
    return found | {"mrr": 1 / ranks_U}


def groups(cases: Sequence[Case], domains: Sequence[str], counts_N: np.ndarray) -> dict[str, np.ndarray]:
    """Name -> [cases], whether a case belongs: by domain, by length of history, by how popular the target is."""
    lengths, taken = np.array([len(c.history) for c in cases]), np.array([counts_N[c.target] for c in cases])
    found = {f"domain {name}": np.array([c.domain == number for c in cases]) for number, name in enumerate(domains)}
    for name, values in (("history", lengths), ("target taken", taken)):
        low, high = (int(np.quantile(values, share)) for share in (1 / 3, 2 / 3)) if len(values) else (0, 0)
        found[f"{name} up to {low}"] = values <= low
        found[f"{name} {low + 1} to {high}"] = (values > low) & (values <= high)
        found[f"{name} above {high}"] = values > high
    return {name: mask for name, mask in found.items() if mask.any()}


# As an evaluation that the house can read


def evaluate(
    bundle: Bundle, output: Path, asked: Rankings, *, seed: int, between: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Writes a folder a ranking and returns what the record keeps.

    Example:
        {"suites": {"uniform": {"accuracy": 0.44, "interval": [0.43, 0.45], "problems": 7501, "hr@5": …, "ndcg@10": …,
         "mrr": …, "groups": {"domain A": {"hr@10": 0.51, …}}, "beside": {"popularity": {"hr@10": 0.40, …}}}}}
    """
    histories, counts, k = bundle.histories, bundle.counts_N, asked.k
    cases, scorer = histories.cases(asked.part), bundle.scorer()
    drawn = Negatives(histories.domain_N, counts, asked.negatives, seed)
    chance = random_scores(len(histories.items), seed)
    others = dict(zip(BESIDE, (popularity(counts), title_cosine(bundle.text_NX), chance), strict=True))
    masks, suites = groups(cases, histories.domains, counts), dict[str, Any]()
    for suite in asked.suites:
        between()
        found = ranks(scorer, cases, drawn, suite)
        per_user = figures(found, (FIVE, k))
        beside = {n: figures(ranks(other, cases, drawn, suite), (k,)) for n, other in others.items()}
        suites[suite] = _entry(per_user, k) | {
            "groups": {name: _means(per_user, mask) | {"users": int(mask.sum())} for name, mask in masks.items()},
            "beside": {name: _means(values) for name, values in beside.items()},
        }
        _write(output / suite, cases, found, per_user, histories.domains, k)
    if asked.shown:
        write_json(output / "shown.json", shown_users(bundle, scorer, cases, asked.shown))
    return {"suites": suites, **asked.model_dump(include={"part", "negatives", "k"})}


def _entry(per_user: Mapping[str, np.ndarray], k: int) -> dict[str, Any]:
    score = estimate(per_user[f"hr@{k}"][:, None].tolist())
    found: dict[str, Any] = {"accuracy": None, "interval": None, "problems": 0, "samples": 1}
    if score is not None:
        found |= {"accuracy": score.mean, "interval": [score.low, score.high], "problems": score.problems}
        found["se_problems_drawn"] = score.se_drawn
    return found | _means(per_user)


def _means(per_user: Mapping[str, np.ndarray], mask: np.ndarray | slice = slice(None)) -> dict[str, float]:
    """Rounded to what a reader can use; absent where there is no user."""
    chosen = {name: values[mask] for name, values in per_user.items()}
    return {name: round(float(values.mean()), 6) for name, values in chosen.items() if len(values)}


def _write(
    folder: Path,
    cases: Sequence[Case],
    ranks_U: np.ndarray,
    per_user: Mapping[str, np.ndarray],
    domains: Sequence[str],
    k: int,
) -> None:
    """`problems.csv` in the form of every evaluation, with the columns of a ranking; `samples.jsonl` for the page."""
    folder.mkdir(parents=True)
    hits, gains = per_user[f"hr@{k}"].tolist(), per_user[f"ndcg@{k}"].round(6).tolist()
    figures = zip(cases, ranks_U.tolist(), hits, gains, strict=True)
    rows = [(case.user, 1, 1, int(hit), hit, domains[case.domain], place, gain) for case, place, hit, gain in figures]
    samples = (
        {"problem_id": user, "sample": 0, "status": "correct" if right else "wrong", "text": f"rank {place}"}
        for user, _, _, right, _, _, place, _ in rows
    )
    text = table(COLUMNS, (dict(zip(COLUMNS, row, strict=True)) for row in rows))
    (folder / "problems.csv").write_text(text, encoding="utf-8")
    (folder / "samples.jsonl").write_text(lines(samples), encoding="utf-8")


def shown_users(bundle: Bundle, scorer: Scorer, cases: Sequence[Case], count: int) -> list[dict[str, Any]]:
    """A few users, evenly from the shortest history to the longest; the same of every checkpoint."""
    order = sorted(cases, key=lambda case: (len(case.history), case.user))
    titles = [item.title for item in bundle.histories.items]
    return [
        {
            "user": case.user,
            "history": [titles[item] for item in case.history],
            "target": titles[case.target],
            "domain": bundle.histories.domains[case.domain],
            "top": [titles[item] for item, _ in bundle.top(case.history, [case.domain], 10, scorer)[0]],
        }
        for case in (order[(2 * i + 1) * len(order) // (2 * count)] for i in range(count if order else 0))
    ]
