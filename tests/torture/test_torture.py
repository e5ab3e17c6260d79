"""Part of `make torture`: six kills, without a server, on the plan's first step; the whole plan takes half an hour."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.__main__ import main
from tests.torture.moments import IN_FILES, moments, next_moment


@pytest.mark.slow
def test_a_plan_killed_six_times_is_equal_to_one_that_was_not(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wanted = ["--kills", "6", "--seed", "0", "--until", "teacher_base", "--longest", "5", "--no-disk"]
    status = main([*wanted, "--folder", str(tmp_path)])
    printed = capfd.readouterr().out
    assert status == 0, printed
    assert "[6/6]" in printed and "equal to the undisturbed run" in printed


def test_a_seed_repeats_its_moments_and_all_kinds_come() -> None:
    settings = {"longest_s": 10.0, "servers": True, "disk": True}
    drawn = [[next_moment(moments(seed, **settings), **settings) for seed in range(400)] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert {moment.kind for moment in drawn[0]} == {"file", "clock", "disk"}
    assert {moment.role for moment in drawn[0]} == {"runner", "step", "server"}
    assert {moment.path for moment in drawn[0] if moment.path} == {path for _, _, path, _ in IN_FILES}
