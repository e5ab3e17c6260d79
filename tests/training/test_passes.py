"""Dividing an optimizer step's rows over passes and processes: nothing lost, nothing too large, nobody waiting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_pipeline.training.passes import NOTHING, Limit, divide, knee_of

LENGTHS = st.lists(st.integers(2, 60), min_size=1, max_size=40)


@given(LENGTHS, st.integers(1, 4), st.integers(60, 200))
def test_every_row_is_computed_once_within_the_budget_and_all_processes_make_as_many_passes(
    lengths: list[int], processes: int, tokens: int
) -> None:
    division = divide(lengths, processes=processes, limit=Limit(tokens=tokens), knee=30)
    assert sorted(row for part in division.passes for share in part for row in share) == list(range(len(lengths)))
    assert all(len(part) == processes for part in division.passes)
    assert all(sum(lengths[row] for row in share) <= tokens for part in division.passes for share in part)
    assert division.passes == divide(lengths, processes=processes, limit=Limit(tokens=tokens), knee=30).passes


def test_a_limit_of_rows_gives_the_passes_that_it_always_gave() -> None:
    division = divide(list(range(2, 18)), processes=2, limit=Limit(rows=2))
    assert [[len(share) for share in part] for part in division.passes] == [[2, 2]] * 4
    assert len(divide([3, 5, 4], processes=1, limit=Limit()).passes) == 1


def test_no_process_waits_for_another() -> None:
    # One row at the limit for every 31 of a tenth: dealt out as they come, one process could get all of the long ones.
    lengths = [100 if row < 4 else 10 for row in range(128)]
    found = divide(lengths, processes=4, limit=Limit(tokens=128)).measured
    assert found["imbalance"] == pytest.approx(0, abs=0.03) and found["padding"] == 0
    assert found["passes"] == 4  # 1,640 tokens in passes of 4 x 128


def test_a_process_without_rows_computes_a_row_of_nothing_and_that_is_counted() -> None:
    division = divide([10, 8, 8], processes=2, limit=Limit(tokens=10))
    assert division.passes == [[[0], [1]], [[2], []]]
    assert division.measured["padding"] == pytest.approx(NOTHING / (26 + NOTHING))


def test_long_rows_weigh_more_than_their_tokens() -> None:
    # Where attention is as much work as all else at 10 tokens, 20 tokens cost 60 and two of 10 cost 40.
    division = divide([20, 10, 10, 4], processes=2, limit=Limit(), knee=10)
    assert division.passes == [[[0], [1, 2, 3]]]


def test_a_row_beyond_the_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="a row of 11 tokens in passes of 10"):
        divide([3, 11], processes=1, limit=Limit(tokens=10))


def test_the_knee_of_a_model() -> None:
    class Config:
        hidden_size, num_attention_heads, num_key_value_heads, head_dim, intermediate_size = 2048, 16, 8, 128, 6144

    # 2 x 2048 x (2048 + 1024) + 3 x 2048 x 6144 weights a layer, 2048 query values
    assert knee_of(Config) == pytest.approx(50_331_648 / 2048)
