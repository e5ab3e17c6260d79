"""Results of an evaluation: what `evaluate` returns, what lies on disk, and how it is read back.

OUT/report.html  OUT/summary.csv
OUT/SUITE/settings.json   written first: what may not change when the run is continued
          problems.jsonl  the problems as they were judged against
          samples.jsonl   every sample with its verdicts, appended as they finish
          summary.json    written last
          problems.csv    one line a problem
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.files import table, write_text
from reasoning_pipeline.beside import EVALS
from reasoning_pipeline.data.suites.loading import is_pinned
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.registry.differences import ABSENT, differences, shown
from reasoning_pipeline.statistics.scores import Estimate, estimate, pool

from .summary import Summary, scored

POOLED = (("aime24", "aime25"),)
"""Suites that are also scored as one: thirty problems are few."""


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """One checkpoint on one or several suites.

    Example:
        result = load("runs/evals/extra_rl-9f12")
        result.summaries["aime24"].score.mean
        result.pooled["aime24+aime25"].se_drawn
    """

    checkpoint: str
    folder: Path
    summaries: dict[str, Summary]

    @property
    def pooled(self) -> dict[str, Estimate]:
        """Suites taken together as one set of problems, where all of them are here, as pinned, and asked alike."""
        found: dict[str, Estimate] = {}
        for name, parts in self._to_pool.items():
            together = None if why_not_pooled(parts) else estimate(list(pool(*map(_named_scores, parts)).values()))
            if together is not None:
                found[name] = together
        return found

    @property
    def not_pooled(self) -> dict[str, str]:
        """Why suites that are all here are not taken together."""
        return {name: why for name, parts in self._to_pool.items() if (why := why_not_pooled(parts))}

    @property
    def _to_pool(self) -> dict[str, list[Summary]]:
        groups = [names for names in POOLED if set(names) <= set(self.summaries)]
        return {"+".join(names): [self.summaries[name] for name in names] for names in groups}

    def as_json(self) -> dict[str, Any]:
        return {
            "checkpoint": self.checkpoint,
            "folder": str(self.folder),
            "summaries": {name: summary.as_json() for name, summary in self.summaries.items()},
            "pooled": {name: pooled.as_json() for name, pooled in self.pooled.items()},
        }


def why_not_pooled(parts: Sequence[Summary]) -> str | None:
    """What keeps these suites from being one set of problems: rows that are not the pinned ones, or another manner."""
    for part in parts:
        digest = part.settings["data"]["digest"]
        if not is_pinned(part.suite, digest, part.settings["source"]):
            return f"{part.settings['source']} is not the {part.suite} that was pinned (digest {digest[:12]})"
    if any(_manner(part) != _manner(parts[0]) for part in parts):
        return "the suites were asked in different ways (profile, samples, prompt or decoding)"
    return None


def _manner(summary: Summary) -> tuple[Any, ...]:
    """How a suite was asked: what must be the same before two suites are read as one."""
    return (summary.profile, summary.samples, summary.settings.get("prompt"), summary.settings.get("decoding"))


def _named_scores(summary: Summary) -> Mapping[str, Sequence[float]]:
    """Ids made unique over suites: the hub's AIME copies number their problems alike."""
    return {f"{summary.suite}/{name}": row for name, row in scored(summary.scores).items()}


def load(folder: str | Path, suites: Sequence[str] | None = None) -> EvaluationResult:
    """Reads an evaluation back. Raises DataError where there is none, or it is unfinished."""
    folder = Path(folder)
    found = sorted(path.parent.name for path in folder.glob("*/settings.json"))
    names = list(suites) if suites is not None else found
    if not names:
        raise DataError(f"{folder}: no evaluation here", remedy=f"give the folder that was --out of `{EVALS}`")
    unfinished = [name for name in names if not (folder / name / "summary.json").is_file()]
    if unfinished:
        raise DataError(
            f"{folder}: {', '.join(unfinished)} was not evaluated to its end",
            remedy=f"run the same `{EVALS}` command again; it continues where it stopped",
        )
    summaries = {name: load_summary(folder / name) for name in names}
    return EvaluationResult(checkpoint=next(iter(summaries.values())).checkpoint, folder=folder, summaries=summaries)


def load_summary(folder: Path) -> Summary:
    path = folder / "summary.json"
    try:
        return Summary.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: not a summary of this version ({type(error).__name__}: {error})",
            remedy=f"run `{EVALS} regrade RUN --write` to write it again from the samples",
        ) from None


def finished_suites(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("*/summary.json"))


def read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error})", remedy="remove it, or give another --out") from None


def settings_that_differ(before: dict[str, Any], now: dict[str, Any], names: Sequence[str]) -> list[str]:
    """What differs between two settings, field by field: `decoding.temperature: 0.6 and 0.7`."""
    return [
        f"{change.field}: {change.old} and {change.new}"
        for name in names
        for change in differences(before.get(name), now.get(name), name)
        if {change.old, change.new} != {ABSENT, shown(None)}  # a setting that came later, and is not in use
    ]


SUMMARY_COLUMNS = (
    *("suite", "checkpoint", "problems", "samples", "mean", "se_fixed", "se_drawn", "low", "high", "interval"),
    *("detectable_fixed", "detectable_drawn", "strict_mean", "lenient_mean", "mean_without_known_issues"),
    *("truncated", "no_answer", "timeout", "error", "unscored", "set_aside", "tokens_mean"),
)
PROBLEM_COLUMNS = ("problem", "samples", "scored", "right", "mean")


def write_tables(result: EvaluationResult) -> None:
    """summary.csv of all suites and problems.csv of each."""
    rows = [_summary_row(summary) for summary in result.summaries.values()]
    rows += [
        {"suite": name, "checkpoint": result.checkpoint} | pooled.as_json() for name, pooled in result.pooled.items()
    ]
    write_text(result.folder / "summary.csv", table(SUMMARY_COLUMNS, rows))
    for summary in result.summaries.values():
        problems = [
            {"problem": name, "samples": len(row), "scored": len(kept), "right": sum(kept), "mean": _mean(kept)}
            for (name, row), kept in zip(summary.scores.items(), scored(summary.scores).values(), strict=True)
        ]
        write_text(result.folder / summary.suite / "problems.csv", table(PROBLEM_COLUMNS, problems))


def _mean(row: Sequence[float]) -> float | None:
    return sum(row) / len(row) if row else None


def _summary_row(summary: Summary) -> dict[str, Any]:
    score = summary.score.as_json() if summary.score else {"samples": summary.samples}
    return {
        "suite": summary.suite,
        "checkpoint": summary.checkpoint,
        "strict_mean": summary.strict_mean,
        "lenient_mean": summary.lenient_mean,
        "mean_without_known_issues": sound.mean if (sound := summary.score_without_known_issues) else None,
        "tokens_mean": summary.lengths.get("all", {}).get("mean"),
        **score,
        **summary.shares,
    }
