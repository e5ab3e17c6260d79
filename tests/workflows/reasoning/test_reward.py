"""What the rewards of a step say of its groups."""

from __future__ import annotations

import pytest

from reasoning_pipeline.workflows.reasoning.reward import group_shares


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
    found = group_shares(rewards, 2)
    assert found == {"groups_mixed": mixed, "groups_all_right": right, "groups_all_wrong": wrong}
