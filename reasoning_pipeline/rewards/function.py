"""A reward function of one's own: its signature, and how it is called.

    # my_rewards.py
    def brevity(texts, columns, finishes, *, words=50):
        return [1.0 if len(text.split()) <= words else 0.0 for text in texts]

It is called with the rollouts of one problem at a time, in a worker process, each call within its time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from reasoning_pipeline.custom.calls import Answer, OwnFunction
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.records import FinishReason, Problem
from reasoning_pipeline.rewards.config import FunctionReward
from reasoning_pipeline.rewards.rules import Score

MOST_LOST_IN_A_ROW = 16
"""Texts one after the other over which the function hung or its process died, before that is taken for its own
fault and no longer for the text's."""


class RewardFunction(Protocol):
    """What `reward: my_rewards.py:NAME` calls."""

    def __call__(
        self, texts: list[str], columns: dict[str, list[Any]], finishes: list[FinishReason], **options: Any
    ) -> Sequence[float | None]:
        """One value a text, in order: a finite number, or None where nothing can be judged (no reward, no gradient).

        Args:
            texts: What the policy wrote, decoded without special tokens.
            columns: One list as long as `texts` for each of `id`, `question`, `answer`, and every column that the data
                keeps (`keep:` of the data set, `columns.meta` of a suite); None where a row has no such column.
            finishes: `stop` where the policy ended, `length` where it was cut off.
            options: What the recipe says under `options`.
        """
        ...


class FaultyReward(PipelineError):
    """A reward of one's own that raised, or answered with something that is no reward."""


class CalledReward:
    """A `FunctionReward` ready to be called. Calls are spread over worker processes."""

    def __init__(self, part: FunctionReward, files: Mapping[str, Path]) -> None:
        source, name = part.parts
        self.options = part.options
        self.function = OwnFunction(
            str(files[source]) if source in files else source,
            name,
            time_limit_s=part.seconds,
            memory_limit_mb=part.memory_mb,
        )
        self._lost_in_a_row = 0

    def scores(self, problems: Sequence[Problem], texts: Sequence[str], finishes: Sequence[str]) -> list[Score]:
        """One score a text. Raises FaultyReward with file, line and problem for a mistake of the function."""
        rows = range(len(texts))
        groups = [list(group) for _, group in itertools.groupby(rows, key=lambda row: problems[row].id)]
        scores: dict[int, Score] = {}
        for begin in range(0, len(groups), MOST_LOST_IN_A_ROW):  # looked at in between: a hang ends soon
            some, apart = groups[begin : begin + MOST_LOST_IN_A_ROW], []
            for group, answer in zip(some, self._ask(some, problems, texts, finishes), strict=True):
                if answer.lost is not None and len(group) > 1:
                    apart += group  # one text may have done it; the others are asked again without it
                else:
                    scores |= zip(group, self._read(answer, [problems[row] for row in group]), strict=True)
            for row, answer in zip(apart, self._ask([[row] for row in apart], problems, texts, finishes), strict=True):
                scores[row] = self._read(answer, [problems[row]])[0]
        return [scores[row] for row in rows]

    def _ask(
        self, groups: list[list[int]], problems: Sequence[Problem], texts: Sequence[str], finishes: Sequence[str]
    ) -> list[Answer]:
        return self.function.call(
            [
                (
                    [texts[row] for row in group],
                    columns([problems[row] for row in group]),
                    [finishes[row] for row in group],
                )
                for group in groups
            ],
            self.options,
        )

    def _read(self, answer: Answer, problems: Sequence[Problem]) -> list[Score]:
        about = f"{self.function}, over problem {problems[0].id}"
        if answer.lost is not None:
            self._lost_in_a_row += 1
            if self._lost_in_a_row >= MOST_LOST_IN_A_ROW:
                raise FaultyReward(
                    f"{about}: {answer.lost}; the {self._lost_in_a_row}. text in a row",
                    remedy="look for a loop without end or a library that crashes; "
                    "`seconds` and `memory_mb` of the reward give it more",
                )
            status = "timeout" if answer.timed_out else "error"
            return [Score(None, status, rule=answer.lost)]  # type: ignore[arg-type]
        self._lost_in_a_row = 0
        if answer.fault is not None:
            raise FaultyReward(f"{about}: {answer.fault}", remedy="mend the function; it must not raise over any text")
        return [_score(value, about) for value in _values(answer.value, len(problems), about)]


def columns(problems: Sequence[Problem]) -> dict[str, list[Any]]:
    """Problems as the columns that a function is handed."""
    names = dict.fromkeys(name for problem in problems for name in problem.meta)
    own = {"id": [p.id for p in problems], "question": [p.question for p in problems]}
    return {
        **{name: [p.meta.get(name) for p in problems] for name in names},
        **own,
        "answer": [p.answer for p in problems],
    }


def _values(value: Any, count: int, about: str) -> list[Any]:
    remedy = "return a list with one number (or None) a text"
    if not isinstance(value, list):
        raise FaultyReward(f"{about}: returned {_shown(value)}, not a list", remedy=remedy)
    if len(value) != count:
        raise FaultyReward(f"{about}: returned {len(value)} values for {count} texts", remedy=remedy)
    return value


def _score(value: Any, about: str) -> Score:
    if value is None:
        return Score(None, "unjudged", rule="function")
    if isinstance(value, str | list | dict):
        raise FaultyReward(f"{about}: returned {_shown(value)}, no number", remedy="return finite numbers, or None")
    if not math.isfinite(value):
        raise FaultyReward(
            f"{about}: returned {value}", remedy="return finite numbers; None where nothing can be judged"
        )
    return Score(float(value), "correct" if value >= 1 else "wrong", rule="function")


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text[:60]}{'…' if len(text) > 60 else ''}"
