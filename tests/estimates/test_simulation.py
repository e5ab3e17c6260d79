"""A step's simulation against sums by hand, and what it says of splitting GPUs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reasoning_pipeline.estimates.lengths import Lengths
from reasoning_pipeline.estimates.scaling import best_split
from reasoning_pipeline.estimates.shapes import hub_shape
from reasoning_pipeline.estimates.simulation import Machines, generation_seconds, simulate, training_seconds

MACHINES = Machines(
    servers=2, at_once=1, step_seconds=lambda alive, context: 1.0, processes=2, row_seconds=lambda row: row / 2,
    push_seconds=1.0,
)  # fmt: skip


def test_rollouts_go_to_whichever_server_has_room():
    # One server writes the first, of 3 tokens, while the other writes three of one.
    assert generation_seconds([3, 1, 1, 1], 0, MACHINES) == 3
    # Longest last: 1 + 3 on one of them.
    assert generation_seconds([1, 1, 1, 3], 0, MACHINES) == 4
    # Side by side a server is as fast for two as for one here, so all end with the longest.
    assert generation_seconds([1, 1, 1, 3], 0, replace(MACHINES, at_once=2, begin_seconds=0.5)) == 3.5


def test_a_step_takes_longer_for_more_rollouts_and_longer_contexts():
    shared = replace(MACHINES, servers=1, at_once=2, step_seconds=lambda alive, context: alive + context / 10)
    # Both write 2 tokens at contexts around 10 + 1, then one alone 2 more at 10 + 3.
    assert generation_seconds([2, 4], 10, shared) == pytest.approx(2 * (2 + 1.1) + 2 * (1 + 1.3))


def test_trainers_share_rows_longest_first():
    # Rows of 6, 4, 3 and 3 tokens in two processes: 6 + 3 and 4 + 3, half a second a token
    assert training_seconds([5, 3, 2, 2], 1, MACHINES) == 4.5


def test_writing_ahead_hides_the_shorter_of_the_two():
    apart = simulate([[4.0, 4.0]] * 4, 0, MACHINES)  # written in 4 s, trained in 2, pushed in 1
    assert (apart.seconds, apart.trainer_idle) == (7, pytest.approx(4 / 7))
    ahead = simulate([[4.0, 4.0]] * 4, 0, replace(MACHINES, ahead=True))
    assert (ahead.seconds, ahead.trainer_idle) == (5, pytest.approx(2 / 5))
    slow = simulate([[4.0, 4.0]] * 4, 0, replace(MACHINES, ahead=True, row_seconds=lambda row: 2 * row))
    assert (slow.seconds, slow.trainer_idle, slow.server_idle) == (9, 0, pytest.approx(5 / 9))


def test_many_gpus_wait_for_the_longest_rollout_and_one_holds_no_large_teacher():
    student, teacher, large = (hub_shape(name) for name in (
        "Qwen/Qwen3-1.7B", "Qwen/Qwen3-8B", "meta-llama/Llama-3.3-70B-Instruct",
    ))  # fmt: skip
    assert student is not None and teacher is not None and large is not None
    options: dict[str, Any] = {"rows": 512, "lengths": Lengths(2048, 16_384), "prompt": 200.0}
    assert best_split(student, large, 1, **options) is None
    few, many, more = (best_split(student, teacher, gpus, **options) for gpus in (1, 32, 64))
    assert few is not None and many is not None and more is not None
    assert few.colocated and few.bound_by == "decoding"
    assert many.bound_by == "the longest rollout" and many.found.generating >= many.longest * 0.95
    assert more.found.seconds == pytest.approx(many.found.seconds, rel=0.05), "twice the GPUs gain nothing"
