"""What grading a file came to: statuses, agreement with an `expected` column, rows whose published answer is wrong."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from reasoning_pipeline.base.text import excerpt
from reasoning_pipeline.data.rows import question_id
from reasoning_pipeline.data.suites.loading import ID_DIGITS
from reasoning_pipeline.data.suites.spec import known_issues
from reasoning_pipeline.records import Verdict

_LISTED = 10_000


@dataclass
class GradeSummary:
    """What a run over one file came to.

    Example:
        GradeSummary(profile="lenient", rows=500, graded=499, statuses=Counter(correct=451, wrong=48),
                     bad_rows=[(17, "not JSON: ...")])
    """

    profile: str
    rows: int = 0
    graded: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    bad_rows: list[tuple[int, str]] = field(default_factory=list)
    """Line number and reason of each row that could not be graded."""
    agreement: dict[str, Counter[str]] = field(default_factory=dict)
    """By source and by category, against the `expected` column: agree, false accept, false reject, debatable."""
    disagreements: list[dict[str, Any]] = field(default_factory=list)
    """Rows whose verdict is not the expected one, debatable rows left out."""
    known_issues: dict[str, str] = field(default_factory=dict)
    """By problem: what is wrong with a published answer that rows were judged against all the same."""
    known_statuses: Counter[str] = field(default_factory=Counter)
    """Of the rows of these problems."""

    @property
    def accuracy(self) -> float | None:
        """Share of correct among the rows that could be judged."""
        return _accuracy(self.statuses)

    @property
    def accuracy_without_known_issues(self) -> float | None:
        return _accuracy(self.statuses - self.known_statuses)

    def skip(self, line: int, problem: str) -> None:
        """Counts a row that could not be graded."""
        self.rows += 1
        self.bad_rows.append((line, problem))

    def count(self, line: int, data: dict[str, Any], verdict: Verdict) -> None:
        """Counts a graded row."""
        self.rows += 1
        self.graded += 1
        self.statuses[verdict.status] += 1
        self._look_for_known_issue(data, verdict)
        self._compare_with_expected(line, data, verdict)

    def _look_for_known_issue(self, data: dict[str, Any], verdict: Verdict) -> None:
        """Counts a row whose published answer is known to be wrong."""
        asked = question_id(data["question"], ID_DIGITS) if data.get("question") else data.get("id")
        if isinstance(asked, str) and (what := known_issues().get(asked)):
            self.known_issues[asked] = what
            self.known_statuses[verdict.status] += 1

    def _compare_with_expected(self, line: int, data: dict[str, Any], verdict: Verdict) -> None:
        """Counts whether a row's verdict is the one that its `expected` column names."""
        expected = data.get("expected")
        if self.profile == "strict" and isinstance(data.get("expected_strict"), bool):
            expected = data["expected_strict"]  # where a reward is stricter than a score on purpose
        if not isinstance(expected, bool):
            return
        outcome = "agree" if verdict.correct == expected else "false accept" if verdict.correct else "false reject"
        if data.get("debatable"):
            outcome = "debatable"
        for key in (f"source {data.get('source', '-')}", f"category {data.get('category', '-')}"):
            self.agreement.setdefault(key, Counter())[outcome] += 1
        if outcome in ("false accept", "false reject") and len(self.disagreements) < _LISTED:
            shown = {"line": line, "id": data.get("id"), "outcome": outcome, "gold": data["gold"]}
            self.disagreements.append(
                shown | {"extracted": verdict.extracted, "status": verdict.status, "rule": verdict.rule}
            )


def _accuracy(statuses: Counter[str]) -> float | None:
    judged = statuses.total() - statuses["reference_unparsed"]
    return statuses["correct"] / judged if judged else None


def print_agreement(summary: GradeSummary) -> None:
    """Agreement by source and category, then every row that disagrees."""
    outcomes = ("false accept", "false reject", "debatable")
    print(f"{'profile ' + summary.profile:<44}{'rows':>6}{'agree':>8}" + "".join(f"{name:>14}" for name in outcomes))
    for key, counts in sorted(summary.agreement.items(), key=lambda item: (not item[0].startswith("source"), item[0])):
        rows = sum(counts.values()) - counts["debatable"]
        share = f"{counts['agree'] / rows:8.1%}" if rows else f"{'-':>8}"
        print(f"{key:<44}{rows:>6}{share}" + "".join(f"{counts[name]:>14}" for name in outcomes))
    print_disagreements(summary)


def print_disagreements(summary: GradeSummary) -> None:
    """Every row whose verdict is not the expected one."""
    for row in summary.disagreements:
        name = row["id"] or f"line {row['line']}"
        why = f"{row['status']} ({row['rule']})"
        print(f"{row['outcome']}: {name}: {why}; gold {_short(row['gold'])}, read {_short(row['extracted'])}")


def print_summary(summary: GradeSummary, stream: TextIO) -> None:
    """One line a fact: rows, statuses, accuracy, and each row that was not graded."""
    print(f"{summary.rows} rows, {summary.graded} graded ({summary.profile})", file=stream)
    for status, count in summary.statuses.most_common():
        print(f"{count:>8}  {status}", file=stream)
    if summary.accuracy is not None:
        print(f"accuracy {summary.accuracy:.4f} of the rows whose reference could be read", file=stream)
    for name, what in summary.known_issues.items():
        print(f"known issue: {name}: {what}", file=stream)
    if summary.known_issues and (sound := summary.accuracy_without_known_issues) is not None:
        rows = summary.known_statuses.total()
        print(f"accuracy {sound:.4f} without the {rows} rows whose published answer is known to be wrong", file=stream)


def print_bad_rows(rows: Sequence[tuple[int, str]]) -> None:
    """The first of the rows that could not be graded, with the reason."""
    for line, problem in rows[:20]:
        print(f"line {line}: {problem}", file=sys.stderr)
    if len(rows) > 20:
        print(f"... and {len(rows) - 20} more lines that could not be graded", file=sys.stderr)


def _short(text: str | None) -> str:
    return repr(excerpt(" ".join((text or "").split()), 90))
