"""A system asked every query of a suite once, scored, and written as every evaluation is: a row and a mean a query."""

from __future__ import annotations

import csv
import io
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
from reasoning_pipeline.workflows.user_logs.scoring import SUITE, score
from reasoning_pipeline.workflows.user_logs.system import System


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
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["problem", "mean"])
        table.writerows([row["problem_id"], row["score"]] for row in self.rows)
        write_text(folder / "problems.csv", text.getvalue())


def evaluate_queries(system: System, speaker: Speaker, queries: list[dict[str, Any]], seed: int) -> Evaluated:
    """Every query once; shares of 1."""
    languages = [row.get("language", "en") for row in queries]
    answers = system.answer([row["query"] for row in queries], languages, speaker, seed)
    rows = []
    for row, answer in zip(queries, answers, strict=True):
        found = score(row, answer.text)
        rows.append(
            {
                "status": "correct" if found == 1 else "wrong",
                "problem_id": row["id"],
                "sample": 0,
                "score": found,
                "text": answer.text,
                "kind": row.get("kind"),
                **answer.metadata(),
            }
        )
    total = estimate([[row["score"]] for row in rows])
    if total is None:
        raise DataError("no query to answer", remedy="give a file with at least one")
    kinds = sorted({row["kind"] for row in rows if row["kind"]})
    paths = Counter(row["path"] for row in rows)
    figures = {
        "suites": {
            SUITE: {
                "accuracy": total.mean,
                "se_problems_fixed": total.se_fixed,
                "se_problems_drawn": total.se_drawn,
                "interval": [total.low, total.high],
                "problems": len(rows),
                "samples": 1,
            }
        },
        "paths": {path: count / len(rows) for path, count in sorted(paths.items())},
        "generations_a_query": mean(row["generations"] for row in rows),
        "by_kind": {kind: mean(row["score"] for row in rows if row["kind"] == kind) for kind in kinds},
        "scored_by": "programs that know each user's wish",
        "tokens_generated": speaker.tokens,
    }
    return Evaluated(rows=rows, figures=figures)
