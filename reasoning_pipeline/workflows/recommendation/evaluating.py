"""A bundle's rankings as an evaluation that the house can read: per ranking a table of users, their mean and interval.

Shared by the step of a plan, `python -m evals NAME --suite ranking`, and tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reasoning_pipeline.base.files import table, write_json
from reasoning_pipeline.base.jsonl import lines
from reasoning_pipeline.statistics.scores import estimate
from reasoning_pipeline.workflows.recommendation import ranking
from reasoning_pipeline.workflows.recommendation.bundle import Bundle
from reasoning_pipeline.workflows.recommendation.histories import Case
from reasoning_pipeline.workflows.recommendation.ranking import Scorer
from reasoning_pipeline.workflows.recommendation.settings import Rankings

BESIDE = ("popularity", "title_cosine", "chance")
FIVE = 5
COLUMNS = ("problem", "samples", "scored", "right", "mean", "domain", "rank", "ndcg")


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
    drawn = ranking.Negatives(histories.domain_N, counts, asked.negatives, seed)
    chance = ranking.random_scores(len(histories.items), seed)
    others = dict(zip(BESIDE, (ranking.popularity(counts), ranking.title_cosine(bundle.text_NX), chance), strict=True))
    masks, suites = ranking.groups(cases, histories.domains, counts), dict[str, Any]()
    for suite in asked.suites:
        between()
        found = ranking.ranks(scorer, cases, drawn, suite)
        per_user = ranking.figures(found, (FIVE, k))
        beside = {n: ranking.figures(ranking.ranks(other, cases, drawn, suite), (k,)) for n, other in others.items()}
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
