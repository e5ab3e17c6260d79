"""Rollouts are judged and kept as they come, and what goes wrong there is told."""

from __future__ import annotations

import io
import json
import time
from types import SimpleNamespace
from typing import Any

import pytest

from reasoning_pipeline.records import Problem
from reasoning_pipeline.rewards.config import MATH
from reasoning_pipeline.rewards.judge import RewardJudge
from reasoning_pipeline.workflows.reasoning.stages.teacher_rollouts import _Keeper


class SlowFile(io.StringIO):
    """Notes when something was written."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[float] = []

    def write(self, text: str) -> int:
        self.groups.append(time.monotonic())
        return super().write(text)


def group_of(problem: Problem, answer: str) -> list[dict[str, Any]]:
    return [{"problem_id": problem.id, "text": f"\\boxed{{{answer}}}", "finish": "stop", "sample": 0}]


def test_a_finished_group_is_judged_and_on_the_disk_while_others_are_written() -> None:
    file, rows, told = SlowFile(), [], []
    metrics: Any = SimpleNamespace(write=lambda step, reward: told.append((step, reward)))
    problems = [Problem(id=str(i), question="1+1", answer="2") for i in range(3)]
    with _Keeper(file, rows, metrics, judge=RewardJudge(MATH), resumed_at=5) as keeper:
        keeper.put((problems[0], group_of(problems[0], "2")))
        deadline = time.monotonic() + 20
        while not file.groups and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [json.loads(line)["correct"] for line in file.getvalue().splitlines()] == [True]
        keeper.put((problems[1], group_of(problems[1], "3")))
        keeper.put((problems[2], group_of(problems[2], "2")))
    assert [row["correct"] for row in rows] == [True, False, True] and len(file.getvalue().splitlines()) == 3
    assert told[-1][0] == 8, "5 groups were there before"


def test_what_goes_wrong_while_judging_reaches_the_one_who_generates() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError("No space left on device")

    problem, kept = Problem(id="0", question="1+1", answer="2"), 0
    judge, metrics = RewardJudge(MATH), SimpleNamespace()
    with (
        pytest.raises(OSError, match="No space left"),
        _Keeper(Full(), [], metrics, judge=judge, resumed_at=0) as keeper,  # type: ignore[arg-type]
    ):
        for _ in range(1000):
            keeper.put((problem, group_of(problem, "2")))
            kept += 1
            time.sleep(0.01)
    assert kept < 1000, "at once, not when everything is written"
