"""A run whose servers die or freeze in the middle of a push over NCCL: it goes on, and the second time ends in words.

A real vLLM server, and a socket in NCCL's place (tests/nccl).
"""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from tests import nccl
from tests.run.conftest import SMOKE, Run, left_over

pytestmark = pytest.mark.slow

SILENCE_S = 20
PROFILE = {
    "name": "sockets",
    "environment": {"OMP_NUM_THREADS": "1"},
    "server": {"kv_cache_gib": 1, "silence_timeout_s": SILENCE_S, "environment": {"OMP_NUM_THREADS": "1"}},
}
SETTINGS = ("steps.teacher_rl.steps=9", "steps.teacher_rl.save_every=1", "steps.teacher_rl.seed=5")


def test_a_killed_server_is_replaced_and_a_frozen_one_ends_the_run(smoke_root: Path, tmp_path: Path) -> None:
    before = {process.pid for process in psutil.process_iter()}
    profile, strikes = tmp_path / "sockets.yaml", tmp_path / "strikes"
    profile.write_text(json.dumps(PROFILE))
    strikes.mkdir()
    (strikes / "2-SIGKILL").touch()
    (strikes / "3-SIGSTOP").touch()  # only the second server comes to its third push
    status, output = Run(
        "run", SMOKE / "sparse_grpo.yaml", "--root", smoke_root, "--hardware", profile, "--until", "teacher_rl",
        *(word for setting in SETTINGS for word in ("--set", setting)), environment=nccl.environment(strikes),
    ).finish()  # fmt: skip
    assert not list(strikes.iterdir()), output
    assert "teacher_rl: the rollout server was lost; restarting it, the step resumes" in output
    logs = smoke_root / "smoke" / "logs"
    first, second = ((logs / name).read_text() for name in ("teacher_rl.1.log", "teacher_rl.log"))
    assert "is gone" in first
    assert "resuming after optimizer step 1 of 9" in second
    assert status == 1, output
    assert "error: step teacher_rl failed" in output and "stood still in a push" in output
    (point,) = (smoke_root / "work").glob("sparse_grpo-*/checkpoints/checkpoint-*/complete")
    assert point.parent.name == "checkpoint-3", "the next run goes on from here"
    assert left_over(before) == [], "the frozen server, too"
