"""Which samples of a problem gave the same answer, for majority voting: grouped by the grader, not by spelling.

"1/2" and "0.5" are one vote twice. Right answers are one class by their verdicts; wrong ones are compared with each
other through the same verifier, but only where the grouping could change a majority.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from reasoning_pipeline.records import Verdict
from reasoning_pipeline.statistics.scores import RIGHT

from .judging import Judge
from .samples import Sample

MOST_WRONG_SPELLINGS = 8
"""Of one problem, the most frequent first; rarer ones stay classes of their own (28 comparisons at most)."""


class SpelledAlike:
    """For rewards that judge texts and not pairs of answers: two spellings are two answers."""

    def judge(self, references: Sequence[str], texts: Sequence[str], **_: Any) -> list[Verdict]:
        return [Verdict(status="wrong", reward=0.0, extracted=None, rule="spelling", seconds=0.0) for _ in texts]


def answer_classes(
    samples_of: Mapping[str, Sequence[Sample]], profile: str, verifier: Judge
) -> dict[str, list[int | None]]:
    """For each problem id one class per sample: RIGHT, 1, 2, ... for wrong answers, None for no answer."""
    same = _same_spellings(samples_of, profile, verifier)
    classes: dict[str, list[int | None]] = {}
    for problem_id, samples in samples_of.items():
        numbers: dict[str, int] = {}
        row: list[int | None] = []
        for sample in samples:
            spelling = _spelling(sample)
            if sample.judged(profile).status == "correct":
                row.append(RIGHT)
            elif spelling is None:
                row.append(None)
            else:
                row.append(numbers.setdefault(same.get((problem_id, spelling), spelling), len(numbers) + 1))
        classes[problem_id] = row
    return classes


def _spelling(sample: Sample) -> str | None:
    return " ".join(sample.extracted.split()) or None if sample.extracted is not None else None


def _same_spellings(
    samples_of: Mapping[str, Sequence[Sample]], profile: str, verifier: Judge
) -> dict[tuple[str, str], str]:
    """Maps (problem, spelling) to the first spelling it equals."""
    pairs: list[tuple[str, str, str]] = []
    for problem_id, samples in samples_of.items():
        wrong = Counter(
            spelling
            for s in samples
            if s.judged(profile).status != "correct" and (spelling := _spelling(s)) is not None
        )
        if len(wrong) < 2 or all(s.judged(profile).status != "correct" for s in samples):
            continue  # nothing to merge, or no right answer that could win
        frequent = [spelling for spelling, _ in wrong.most_common(MOST_WRONG_SPELLINGS)]
        pairs += [
            (problem_id, first, other)
            for i, first in enumerate(frequent)
            for other in frequent[i + 1 :]
            if not (_plain_integer(first) and _plain_integer(other))  # two spellings of integers are two integers
        ]
    if not pairs:
        return {}
    verdicts = verifier.judge([first for _, first, _ in pairs], [f"\\boxed{{{other}}}" for _, _, other in pairs])
    same: dict[tuple[str, str], str] = {}
    for (problem_id, first, other), verdict in zip(pairs, verdicts, strict=True):
        if verdict.status == "correct":
            same.setdefault((problem_id, other), same.get((problem_id, first), first))
    return same


def _plain_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and (digits == "0" or not digits.startswith("0"))
