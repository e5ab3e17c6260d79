"""What the rewards of a step say of its groups."""

from __future__ import annotations

import pytest

from reasoning_pipeline.workflows.reasoning.reward import group_shares, overlong_penalty


@pytest.mark.parametrize(
    ("rewards", "mixed", "right", "wrong"),
    [
        ([1, 0, 1, 1], 0.5, 0.5, 0.0),
        ([None, None, 1, 1], 0.0, 0.5, 0.0),  # what is missing to one could not be judged
        ([None, None, None, None], 0.0, 0.0, 0.0),
        ([None, 0, None, 1], 0.0, 0.5, 0.5),
        ([], 0.0, 0.0, 0.0),
    ],
)
def test_only_judged_groups_are_mixed_right_or_wrong(rewards: list, mixed: float, right: float, wrong: float) -> None:
    found = group_shares(rewards, 2, [reward == 1 for reward in rewards])
    assert found == {"groups_mixed": mixed, "groups_all_right": right, "groups_all_wrong": wrong}


def test_a_group_is_mixed_where_its_rewards_differ_and_right_where_its_answers_are() -> None:
    rewards, right = [1.1, 1.0, 0.1, 0.1, 0.5, 0.5], [True, True, False, False, True, True]
    third = pytest.approx(1 / 3)
    expected = {"groups_mixed": third, "groups_all_right": third, "groups_all_wrong": third}
    assert group_shares(rewards, 2, right) == expected


def test_the_soft_overlong_penalty_is_dapos_equation_13() -> None:
    # L_max 20480, L_cache 4096: nothing up to 16384, then (16384 - tokens) / 4096, -1 from 20480 on
    tokens = [0, 16384, 17408, 18432, 20480]
    assert [overlong_penalty(n, 20480, 4096) for n in tokens] == [0.0, 0.0, -0.25, -0.5, -1.0]
