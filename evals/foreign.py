"""Results of other evaluation programs, as far as the score of every sample is in them: for `compare` alone.

    lm-evaluation-harness   samples_TASK_DATE.jsonl, written with --log_samples
    lighteval               details_TASK_DATE.parquet, written with --save-details

Such a file is compared with another of its kind, under the same rule as our own evaluations: what was asked, how it was
decoded and by which metric it was judged must be equal. With an evaluation of ours it shares no suite: another program
asks in other words and judges by other rules.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoning_pipeline.data.row_files import file_rows
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.statistics.scores import estimate

from .results import EvaluationResult
from .summary import Summary

_NAMED = re.compile(r"(?:samples|details)_(?P<task>.+?)_\d{4}-\d{2}-\d{2}T[\d.:-]+\.(?:jsonl|parquet)")


@dataclass(frozen=True)
class _Sample:
    """One row of either program."""

    question: str
    """What tells problems apart."""
    prompt: str
    decoding: Any
    judged_by: str
    """The metric, behind a filter where there is one."""
    score: float


def is_foreign(path: Path) -> bool:
    """Whether it is a file of another program, by its name."""
    return path.suffix in (".jsonl", ".parquet")


def load_foreign(path: Path) -> EvaluationResult:
    """A file as an evaluation: one suite for each metric and filter that scored its rows.

    Raises:
        DataError: No row of either program, a row without a score, or a problem that stands twice.
    """
    found = _NAMED.fullmatch(path.name)
    task = found["task"] if found else path.stem
    by_metric: dict[str, list[tuple[str, _Sample]]] = {}
    for place, row in file_rows(path):
        for sample in _samples(place, row):
            by_metric.setdefault(sample.judged_by, []).append((place, sample))
    if not by_metric:
        raise DataError(f"{path}: no samples", remedy="run lm-eval with --log_samples, lighteval with --save-details")
    checkpoint = _model(path)
    summaries = {f"{task}:{name}": _summary(task, name, checkpoint, rows, path) for name, rows in by_metric.items()}
    return EvaluationResult(checkpoint=checkpoint, folder=path, summaries=summaries)


def _samples(place: str, row: dict[str, Any]) -> Iterator[_Sample]:
    """One sample for each metric of a row."""
    if "doc_id" in row and "filtered_resps" in row:
        arguments = row.get("arguments") or {}
        first = next(iter(arguments.values())) if isinstance(arguments, dict) and arguments else {}
        first = first if isinstance(first, dict) else {}
        behind = f"{row['filter']}," if row.get("filter") not in (None, "none") else ""
        names = row.get("metrics") or [name for name in ("exact_match", "acc") if name in row]
        values = {name: row.get(name) for name in names}
        asked = (str(row.get("doc_hash") or row["doc_id"]), str(row.get("prompt_hash") or first.get("arg_0", "")))
        decoding = first.get("arg_1")
    elif isinstance(row.get("metric"), dict) or isinstance(row.get("metrics"), dict):
        values, behind, decoding = row.get("metric") or row["metrics"], "", None
        doc = row.get("doc") or {}
        query = str(doc.get("query") or row.get("example") or "")
        asked = (query, str(row.get("full_prompt") or query))
    else:
        raise DataError(
            f"{place}: neither a sample of lm-evaluation-harness nor one of lighteval",
            remedy="give samples_*.jsonl (lm-eval --log_samples) or details_*.parquet (lighteval --save-details)",
        )
    for name, value in values.items():
        if isinstance(value, bool | int | float):
            yield _Sample(*asked, decoding=decoding, judged_by=f"{behind}{name}", score=float(value))
    if not any(isinstance(value, bool | int | float) for value in values.values()):
        raise DataError(f"{place}: no score (metrics: {', '.join(values) or 'none'})", remedy="compare scored files")


def _summary(task: str, judged_by: str, checkpoint: str, rows: list[tuple[str, _Sample]], path: Path) -> Summary:
    scores: dict[str, list[float | None]] = {}
    for place, sample in rows:
        if sample.question in scores:
            raise DataError(f"{place}: the same problem as before", remedy="compare files of one run each")
        scores[sample.question] = [sample.score]
    samples = [sample for _, sample in rows]
    return Summary(
        suite=f"{task}:{judged_by}", title=task, checkpoint=checkpoint, profile=judged_by, samples=1,
        score=estimate([[sample.score] for sample in samples]), scores=scores, strict_mean=None, lenient_mean=None,
        disagreements=0, pass_at={}, maj_at={}, statuses={}, shares={}, lengths={}, groups={}, set_aside=[],
        policy_versions=[], tokens=0,
        settings={
            "prompt": {"prompts": _digest(sorted(sample.prompt for sample in samples))},
            "decoding": {"arguments": _digest(sorted(json.dumps(s.decoding, sort_keys=True) for s in samples))},
            "data": {"digest": _digest(sorted(scores)), "rows": len(scores)},
            "verifier": {"metric": judged_by},
            "source": str(path),
        },
    )  # fmt: skip


def _digest(texts: list[str]) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]


def _model(path: Path) -> str:
    """From the results beside it, else the name of its folder."""
    for results in sorted(path.parent.glob("results_*.json"), reverse=True):
        try:
            named = json.loads(results.read_text(encoding="utf-8")).get("model_name")
        except (OSError, ValueError):
            continue
        if isinstance(named, str):
            return named
    return path.parent.name
