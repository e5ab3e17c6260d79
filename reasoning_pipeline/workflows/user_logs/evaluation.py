"""A system asked every query of a suite once, scored, and written as every evaluation is: a row and a mean a query."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from reasoning_pipeline.base.files import write_text
from reasoning_pipeline.base.jsonl import lines
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.run.speaking import Speaker
from reasoning_pipeline.statistics.scores import estimate
from reasoning_pipeline.workflows.user_logs.roles import Judge
from reasoning_pipeline.workflows.user_logs.scoring import SUITE, score
from reasoning_pipeline.workflows.user_logs.system import Answer, System


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What one evaluation found."""

    rows: list[dict[str, Any]]
    figures: dict[str, Any]
    """For the record: `suites` and how the answers came about."""

    def save(self, output: Path) -> None:
        folder = output / SUITE
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "samples.jsonl", lines(self.rows))
        with (folder / "problems.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["problem", "mean"])
            table.writerows([row["problem_id"], row["score"]] for row in self.rows if row["score"] is not None)

    def told(self) -> str:
        """In a line."""
        found, score = self.figures, self.figures["suites"][SUITE]
        low, high = score["interval"]
        shares = ", ".join(f"{path} {share:.0%}" for path, share in found["paths"].items())
        unscored = f"; {found['unscored']} could not be scored" if found["unscored"] else ""
        return (
            f"{SUITE}  {score['accuracy']:.1%} [{low:.1%}, {high:.1%}] of {score['problems']} queries{unscored}; "
            f"{shares}; {found['generations_a_query']:.2f} generations a query; scored by {found['scored_by']}"
        )


Asked = list[tuple[dict[str, Any], Answer]]
"""Queries, each with its language, and what the system answered."""


def ask(system: System, speaker: Speaker, queries: list[dict[str, Any]], seed: int) -> Asked:
    """Every query once, in the system's language where a row does not say."""
    rows = [{"language": system.language} | row for row in queries]
    texts, languages = [row["query"] for row in rows], [row["language"] for row in rows]
    return list(zip(rows, system.answer(texts, languages, speaker, system.thresholds.decoding(seed)), strict=True))


def evaluated(asked: Asked, referee: Judge | None = None, *, tokens: int) -> Evaluated:
    """Shares of 1.

    Args:
        referee: A model that scores answers from 1 to 10 without having seen a rule; programs where there is none.
        tokens: What the answers cost.
    """
    if referee is None:
        scores: list[float | None] = [score(row, answer.text) for row, answer in asked]
    else:
        judged = referee([(row["query"], (), answer.text, row["language"]) for row, answer in asked])
        scores = [None if found is None else (found - 1) / 9 for found in judged]
    rows = [
        {
            "status": "unscored" if found is None else "correct" if found == 1 else "wrong",
            "problem_id": row["id"],
            "sample": 0,
            "score": found,
            "text": answer.text,
            "kind": row.get("kind"),
            **answer.metadata(),
        }
        for (row, answer), found in zip(asked, scores, strict=True)
    ]
    scored = [row for row in rows if row["score"] is not None]
    total = estimate([[row["score"]] for row in scored])
    if total is None:
        raise DataError(f"of {len(rows)} answers none could be scored", remedy="give queries, and a judge that scores")
    kinds = sorted({row["kind"] for row in scored if row["kind"]})
    suite = {
        "accuracy": total.mean,
        "se_problems_fixed": total.se_fixed,
        "se_problems_drawn": total.se_drawn,
        "interval": [total.low, total.high],
        "problems": len(scored),
        "samples": 1,
    }
    figures = {
        "suites": {SUITE: suite},
        "paths": {path: count / len(rows) for path, count in sorted(Counter(row["path"] for row in rows).items())},
        "generations_a_query": mean(row["generations"] for row in rows),
        "by_kind": {kind: mean(row["score"] for row in scored if row["kind"] == kind) for kind in kinds},
        "unscored": len(rows) - len(scored),
        "scored_by": "programs that know each user's wish" if referee is None else "a model that saw no rule",
        "tokens_generated": tokens,
    }
    return Evaluated(rows=rows, figures=figures)
