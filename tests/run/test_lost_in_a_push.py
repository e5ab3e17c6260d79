"""A run whose servers die or freeze in the middle of a push over NCCL goes on from its last resume point.

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


def test_a_killed_server_and_a_frozen_one_are_replaced(smoke_root: Path, tmp_path: Path) -> None:
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
    assert output.count("teacher_rl: the rollout server was lost; restarting it, the step resumes") == 2
    logs = smoke_root / "smoke" / "logs"
    first, second, third = ((logs / f"teacher_rl{name}.log").read_text() for name in (".2", ".1", ""))
    assert "is gone" in first
    assert "resuming after optimizer step 1 of 9" in second and "stood still in a push" in second
    assert "resuming after optimizer step 3 of 9" in third
    assert status == 0, output
    assert left_over(before) == [], "the frozen server, too"
