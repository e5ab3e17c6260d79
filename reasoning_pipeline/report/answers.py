"""Stored samples -> per-problem means, paired gains, and the few transcripts the page shows.

One pass over each `samples.jsonl`; of every sample at most a bounded excerpt is kept, so that a large run costs reading
time but no memory.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any, Literal

from reasoning_pipeline.base.text import excerpt as text_excerpt

EXCERPT_CHARACTERS = 600
HIDDEN = re.compile(
    "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f"
    "\\u00ad\\u061c\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\ufeff\\ud800-\\udfff]"
)
UNSCORED = ("reference_unparsed", "timeout", "error")
"""Statuses with which nothing was judged: left out of means, never wrong answers."""

Outcome = Literal["right", "wrong", "unscored"]


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """One answer, cut to what fits on a page.

    Example:
        Transcript(text="8;6;\\\\boxed{6}", omitted=0, tokens=12, status="correct", outcome="right")
    """

    text: str
    omitted: int
    """Characters left out of the middle."""
    tokens: int | None
    status: str
    outcome: Outcome


@dataclass(kw_only=True)
class Answers:
    """What one checkpoint answered to one suite."""

    scores: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Problem -> (samples that are correct, samples that could be scored); the second is never 0."""
    first: dict[str, Transcript] = field(default_factory=dict)
    """Problem -> its sample 0."""

    @property
    def means(self) -> dict[str, float]:
        return {problem: right / scored for problem, (right, scored) in self.scores.items()}


@dataclass(frozen=True, kw_only=True)
class Gain:
    """After minus before over the problems both have scores for, compared problem by problem.

    Example:
        Gain(difference=0.54, se=0.013, problems=500)
    """

    difference: float
    se: float | None
    """sd of the per-problem differences / sqrt(n); None for a single problem."""
    problems: int


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Objects of a JSONL file; what is torn or no object is passed over."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict):
                yield row


def read_answers(suite_folder: Path) -> Answers:
    """The samples of one suite of an evaluation."""
    answers = Answers()
    for row in read_rows(suite_folder / "samples.jsonl"):
        problem, outcome = str(row.get("problem_id")), outcome_of(row)
        if outcome != "unscored":
            right, scored = answers.scores.get(problem, (0, 0))
            answers.scores[problem] = right + (outcome == "right"), scored + 1
        if row.get("sample", 0) == 0:
            answers.first[problem] = transcript(row)
    return answers


def read_means(suite_folder: Path) -> dict[str, float]:
    """Problem -> mean score, from the evaluation's table of problems; from its samples where that is missing. Reading
    every sample of a hundred evaluations takes a quarter of a minute, their tables a tenth of a second."""
    table = suite_folder / "problems.csv"
    if not table.is_file():
        return read_answers(suite_folder).means
    try:
        with table.open(encoding="utf-8", newline="") as file:
            return {row["problem"]: float(row["mean"]) for row in csv.DictReader(file) if row["mean"] != ""}
    except (KeyError, ValueError, TypeError, csv.Error):  # not a table as evaluations write it
        return read_answers(suite_folder).means


def outcome_of(row: dict[str, Any]) -> Outcome:
    """The verdict of a sample or a rollout; a row without one is unscored."""
    status, correct = row.get("status"), row.get("correct")
    if status in UNSCORED or (status is None and correct is None):
        return "unscored"
    return "right" if (status == "correct" if correct is None else correct) else "wrong"


def transcript(row: dict[str, Any]) -> Transcript:
    outcome = outcome_of(row)
    tokens = row.get("tokens", len(row.get("completion_ids") or ()) or None)
    text, omitted = excerpt(str(row.get("text", "")))
    plain = {"right": "correct", "wrong": "wrong", "unscored": "unscored"}[outcome]
    status = visible(str(row.get("status") or plain).replace("_", " "))[:40]
    return Transcript(text=text, omitted=omitted, tokens=tokens, status=status, outcome=outcome)


def excerpt(text: str, limit: int = EXCERPT_CHARACTERS) -> tuple[str, int]:
    """Beginning and end of a long text (the answer stands at its end), and how many characters were left out."""
    text = text.strip("\n")
    if len(text) <= limit:
        return visible(text), 0
    return visible(text_excerpt(text, limit, "\n⋯\n")), len(text) - limit


def visible(text: str) -> str:
    """Control and direction-changing characters made visible: a model's text must not rearrange the page."""
    return HIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def paired_gain(before: Answers, after: Answers) -> Gain | None:
    """None where the two share no scored problem."""
    means_before, means_after = before.means, after.means
    differences = [means_after[p] - means_before[p] for p in means_after if p in means_before]
    n = len(differences)
    if n == 0:
        return None
    mean = sum(differences) / n
    se = sqrt(sum((d - mean) ** 2 for d in differences) / (n - 1) / n) if n > 1 else None
    return Gain(difference=mean, se=se, problems=n)


def typical_problems(answers: Sequence[Answers], count: int) -> list[str]:
    """`count` problems from easy to hard: the middles of equal parts when all are sorted by their mean over the
    checkpoints. A rule instead of a choice, so that nobody picked the flattering ones."""
    shared = set.intersection(*(set(a.first) for a in answers)) if answers else set()
    means = [a.means for a in answers]
    ease = {problem: sum(m.get(problem, 0.0) for m in means) for problem in shared}
    ranked = sorted(shared, key=lambda problem: (-ease[problem], problem))
    count = min(count, len(ranked))
    return [ranked[(2 * i + 1) * len(ranked) // (2 * count)] for i in range(count)]
