"""A reward at work: problems and texts in, one `Verdict` each out, whatever judges."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.fingerprint import file_digest
from reasoning_pipeline.records import Problem, Verdict
from reasoning_pipeline.rewards import rules
from reasoning_pipeline.rewards.config import (
    ChoiceReward,
    ExactReward,
    FormatReward,
    FunctionReward,
    MathReward,
    NumericReward,
    RewardPart,
    is_math,
)
from reasoning_pipeline.rewards.function import CalledReward
from reasoning_pipeline.rewards.rules import Score
from reasoning_pipeline.verifier import ReferenceAudit, audit_references, shared_verifier

_PATTERN_SECONDS = 2.0


class RewardJudge:
    """Judges by a reward. Two with equal parts judge alike.

    Args:
        files: Name -> path of the files that functions of one's own are in.
    """

    def __init__(self, reward: Sequence[RewardPart], files: Mapping[str, str | Path] | None = None) -> None:
        self.reward = tuple(reward)
        self.files = {name: Path(path) for name, path in (files or {}).items()}

    @property
    def is_math(self) -> bool:
        return is_math(self.reward)

    @cached_property
    def _called(self) -> dict[int, CalledReward]:
        found: dict[int, CalledReward] = {}
        for number, part in enumerate(self.reward):
            if isinstance(part, FormatReward) and part.pattern is not None:
                own = FunctionReward(
                    function=f"{__name__}:matches", options={"pattern": part.pattern}, seconds=_PATTERN_SECONDS
                )
                found[number] = CalledReward(own, {})
            elif isinstance(part, FunctionReward):
                found[number] = CalledReward(part, self.files)
        return found

    def usable(self, problems: Sequence[Problem]) -> ReferenceAudit:
        """Problems whose answers can serve; the verifier's are put into canonical form where it alone judges."""
        if any(isinstance(part, MathReward) for part in self.reward):
            audit = audit_references(problems)
            if self.is_math:
                return audit
            aside = dict(audit.set_aside)
        else:
            aside = {}
        for problem in problems:
            reasons = (rules.unusable(part, problem.answer) for part in self.reward)
            if problem.id not in aside and (reason := next(filter(None, reasons), None)) is not None:
                aside[problem.id] = reason
        usable = [problem for problem in problems if problem.id not in aside]
        return ReferenceAudit(usable=usable, set_aside=list(aside.items()))

    def judge(self, problems: Sequence[Problem], texts: Sequence[str], finishes: Sequence[str]) -> list[Verdict]:
        """One verdict a text: the status of the first part, and the weighted sum of all; None where a part has none.

        Raises:
            FaultyReward: A function of one's own made a mistake.
        """
        started = time.perf_counter()
        columns = [self._scores(number, problems, texts, finishes) for number in range(len(self.reward))]
        seconds = (time.perf_counter() - started) / max(len(texts), 1)
        return [self._verdict(row, seconds) for row in zip(*columns, strict=True)]

    def _verdict(self, scores: Sequence[Score], seconds: float) -> Verdict:
        first = scores[0]
        values = [None if s.value is None else p.weight * s.value for p, s in zip(self.reward, scores, strict=True)]
        reward = None if None in values else sum(value for value in values if value is not None)
        return Verdict(
            status=first.status, reward=reward, extracted=first.extracted, rule=first.rule, seconds=round(seconds, 6)
        )

    def _scores(
        self, number: int, problems: Sequence[Problem], texts: Sequence[str], finishes: Sequence[str]
    ) -> list[Score]:
        part = self.reward[number]
        if number in self._called:
            scores = self._called[number].scores(problems, texts, finishes)
            return [replace(score, rule=part.kind) if score.value is not None else score for score in scores]
        rows = list(zip((problem.answer for problem in problems), texts, finishes, strict=True))
        match part:
            case MathReward():
                verdicts = shared_verifier("strict").judge(
                    [problem.answer for problem in problems],
                    texts,
                    finishes=list(finishes),
                    questions=[problem.question for problem in problems],
                )
                return [Score(v.reward, v.status, v.extracted, v.rule) for v in verdicts]
            case ExactReward():
                return [rules.exact(part, *row) for row in rows]
            case ChoiceReward():
                return [rules.choice(part, *row) for row in rows]
            case NumericReward():
                return [rules.numeric(part, *row) for row in rows]
            case FormatReward():
                return [rules.form(part, text, finish) for _, text, finish in rows]
        raise AssertionError(part)

    def settings(self) -> dict[str, Any]:
        """What says how it judges, as JSON: an evaluation is continued under equal settings only."""
        files = {name: file_digest(path) for name, path in self.files.items()}
        return {"parts": [part.model_dump(mode="json") for part in self.reward], "files": files}

    def close(self) -> None:
        for called in self.__dict__.get("_called", {}).values():
            called.function.close()


def matches(texts: list[str], columns: dict[str, list[Any]], finishes: list[str], *, pattern: str) -> list[float]:
    """`format` with a pattern, called in a worker: a pattern may take exponential time over a text."""
    return [float(re.fullmatch(pattern, text, re.DOTALL) is not None) for text in texts]
