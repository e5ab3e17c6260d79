"""Wins, guards, epochs, and the table that says which module answers."""

from __future__ import annotations

import pytest

from reasoning_pipeline.workflows.user_logs.choice import (
    Expert,
    best_epoch,
    collapsed,
    decide,
    decisions,
    win,
    win_rate,
)

BASE = "The cat sat on the mat and looked at the rain."


@pytest.mark.parametrize(
    ("score", "before", "expected"),
    [(8, 7, 1.0), (7, 7, 0.5), (6, 7, 0.0), (None, 7, 0.0), (7, None, None), (None, None, None)],
)
def test_a_win_is_a_higher_score(score: float | None, before: float | None, expected: float | None):
    assert win(score, before, BASE, BASE) == expected


@pytest.mark.parametrize("answer", ["", "ok", "x y z " * 30, "rain rain rain rain rain rain rain rain rain rain " * 9])
def test_a_collapsed_answer_wins_nothing_whatever_the_judge_says(answer: str):
    assert collapsed(answer, BASE) and win(10, 1, answer, BASE) == 0.0


def test_a_win_rate_counts_what_could_be_compared():
    found = win_rate([1.0, 0.5, 0.0, None])
    assert (found.rate, found.logs) == (0.5, 3) and found.low < 0.5 < found.high
    assert win_rate([None]).rate is None


def test_an_overfit_last_epoch_is_not_chosen():
    wins = {1: [0.5, 0.5, 1.0], 2: [1.0, 1.0, 0.5], 3: [1.0, 1.0, 0.5], 4: [0.0, 0.0, 0.0]}
    assert best_epoch(wins) == 2  # the earliest of equals
    assert best_epoch(wins, "last") == 4
    assert best_epoch({1: [None]}) is None


@pytest.mark.parametrize(
    ("gap", "rate", "path"),
    [
        (0.2, 0.54, "primary"),
        (0.45, 0.54, "primary"),
        (None, 0.54, "primary"),
        (0.2, 0.53, "reflective"),
        (0.2, 0.1, "reflective"),
        (0.2, None, "reflective"),
        (0.46, 0.9, "reflective"),
        (0.46, None, "reflective"),
    ],
)
def test_the_truth_table(gap: float | None, rate: float | None, path: str):
    assert decide(gap, rate) == path


def expert(acceptance: float) -> Expert:
    wins = {1: {"a": 1.0, "b": acceptance}, 2: {"a": 0.0, "b": 1.0}}
    return Expert(cluster=0, learned=("c",), wins=wins, selection=("a",), acceptance=("b",))


def test_the_epoch_is_chosen_on_other_logs_than_it_is_accepted_on():
    (decision,) = decisions(1, {0: 0.1}, {0: expert(0.5)}, gap_threshold=0.45)
    assert (decision.epoch, decision.accepted.rate, decision.path) == (1, 0.5, "reflective")
    (decision,) = decisions(1, {0: 0.1}, {0: expert(1.0)}, gap_threshold=0.45)
    assert decision.path == "primary"


def test_an_arm_may_take_the_last_epoch_unseen():
    (decision,) = decisions(1, {0: 0.1}, {0: expert(0.0)}, gap_threshold=0.45, rule="last", verify=False)
    assert (decision.epoch, decision.path) == (2, "primary")
    (none,) = decisions(1, {0: 0.1}, {}, gap_threshold=0.45, verify=False)
    assert none.path == "reflective"  # nothing was trained, so nothing can be taken
