"""A bundle's rankings as an evaluation that the house can read: per ranking a table of users, their mean and interval.

Shared by the step of a plan, `python -m evals NAME --suite ranking`, and tests.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.base.jsonl import lines
from reasoning_pipeline.statistics.scores import estimate
from reasoning_pipeline.workflows.recommendation.bundle import Bundle
from reasoning_pipeline.workflows.recommendation.histories import Part
from reasoning_pipeline.workflows.recommendation.ranking import (
    Case,
    Negatives,
    Ranking,
    Scorer,
    cases_of,
    figures,
    groups,
    popularity,
    random_scores,
    ranks,
    title_cosine,
)
from reasoning_pipeline.workflows.recommendation.scoring import scorer_of

BESIDE = ("popularity", "title_cosine", "chance")
FIVE = 5


def evaluate(
    bundle: Bundle,
    output: Path,
    *,
    rankings: Sequence[Ranking],
    part: Part,
    negatives: int,
    k: int,
    shown: int,
    seed: int,
    between: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Writes a folder a ranking and returns what the record keeps.

    Example:
        {"suites": {"uniform": {"accuracy": 0.44, "interval": [0.43, 0.45], "problems": 7501, "hr@5": …, "ndcg@10": …,
         "mrr": …, "groups": {"domain A": {"hr@10": 0.51, …}}, "beside": {"popularity": {"hr@10": 0.40, …}}}}}
    """
    cases, domain_N = cases_of(bundle.histories, part), bundle.histories.domain_N
    drawn = Negatives(domain_N, bundle.counts_N, negatives, seed)
    others = {
        "popularity": popularity(bundle.counts_N),
        "title_cosine": title_cosine(bundle.text_NX),
        "chance": random_scores(len(domain_N), seed),
    }
    masks, scorer, suites = (
        groups(cases, bundle.histories.domains, bundle.counts_N),
        scorer_of(bundle),
        dict[str, Any](),
    )
    for ranking in rankings:
        between()
        found = ranks(scorer, cases, drawn, ranking, domain_N)
        per_user = figures(found, (FIVE, k))
        beside = {name: _means(figures(ranks(o, cases, drawn, ranking, domain_N), (k,))) for name, o in others.items()}
        suites[ranking] = _entry(per_user, k) | {
            "groups": {name: _means(per_user, mask) | {"users": int(mask.sum())} for name, mask in masks.items()},
            "beside": beside,
        }
        _write(output / ranking, cases, found, per_user, bundle, k)
    if shown:
        write_json(output / "shown.json", shown_users(bundle, scorer, cases, shown))
    return {"suites": suites, "part": part, "negatives": negatives, "k": k}


def _entry(per_user: Mapping[str, np.ndarray], k: int) -> dict[str, Any]:
    score = estimate([[float(value)] for value in per_user[f"hr@{k}"]])
    found: dict[str, Any] = {"accuracy": None, "interval": None, "problems": 0, "samples": 1}
    if score is not None:
        found = {
            "accuracy": score.mean,
            "interval": [score.low, score.high],
            "se_problems_drawn": score.se_drawn,
            "problems": score.problems,
            "samples": 1,
        }
    return found | _means(per_user)


def _means(per_user: Mapping[str, np.ndarray], mask: np.ndarray | None = None) -> dict[str, float]:
    """Rounded to what a reader can use; absent where there is no user."""
    chosen = {name: values if mask is None else values[mask] for name, values in per_user.items()}
    return {name: round(float(values.mean()), 6) for name, values in chosen.items() if len(values)}


def _write(
    folder: Path, cases: Sequence[Case], ranks_U: np.ndarray, per_user: Mapping[str, np.ndarray], bundle: Bundle, k: int
) -> None:
    """`problems.csv` in the form of every evaluation, with the columns of a ranking; `samples.jsonl` for the page."""
    folder.mkdir(parents=True)
    domains, hits = bundle.histories.domains, per_user[f"hr@{k}"]
    with (folder / "problems.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("problem", "samples", "scored", "right", "mean", "domain", "rank", "ndcg"))
        for case, place, hit, gain in zip(cases, ranks_U, hits, per_user[f"ndcg@{k}"], strict=True):
            writer.writerow((case.user, 1, 1, int(hit), hit, domains[case.domain], place, round(float(gain), 6)))
    rows = (
        {"problem_id": case.user, "sample": 0, "status": "correct" if hit else "wrong", "text": f"rank {place}"}
        for case, place, hit in zip(cases, ranks_U, hits, strict=True)
    )
    (folder / "samples.jsonl").write_text(lines(rows), encoding="utf-8")


def shown_users(bundle: Bundle, scorer: Scorer, cases: Sequence[Case], count: int) -> list[dict[str, Any]]:
    """A few users, evenly from the shortest history to the longest; the same of every checkpoint."""
    order = sorted(range(len(cases)), key=lambda index: (len(cases[index].history), cases[index].user))
    chosen = [cases[order[(2 * i + 1) * len(order) // (2 * count)]] for i in range(count)] if order else []
    titles = [item.title for item in bundle.histories.items]
    return [
        {
            "user": case.user,
            "history": [titles[item] for item in case.history],
            "target": titles[case.target],
            "domain": bundle.histories.domains[case.domain],
            "top": [titles[item] for item, _ in bundle.top(case.history, [case.domain], 10, scorer)[0]],
        }
        for case in chosen
    ]
