"""A run whose server dies or freezes in the middle of a push over NCCL: it goes on, or ends in words and resumes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from reasoning_pipeline.registry.store import Registry
from tests import nccl
from tests.run.conftest import SMOKE, Run

pytestmark = pytest.mark.slow

STEPS = 6
PROFILE = {
    "device": "cpu",
    "environment": {"OMP_NUM_THREADS": "1"},
    "server": {"kv_cache_gib": 1, "silence_timeout_s": 20, "environment": {"OMP_NUM_THREADS": "1"}},
}


def test_a_run_recovers_from_a_server_lost_in_mid_push_and_resumes_after_a_second(
    smoke_root: Path, tmp_path: Path
) -> None:
    profile, strikes = tmp_path / "sockets.yaml", tmp_path / "strikes"
    profile.write_text(json.dumps({"name": "sockets", **PROFILE}))
    strikes.mkdir()
    (strikes / "2-SIGKILL").touch()
    log = smoke_root / "smoke" / "logs" / "teacher_rl.log"

    def run() -> tuple[int, str]:
        settings = [f"steps.teacher_rl.steps={STEPS}", "steps.teacher_rl.save_every=1", "steps.teacher_rl.seed=5"]
        return Run(
            "run", SMOKE / "sparse_grpo.yaml", "--root", smoke_root, "--hardware", profile, "--until", "teacher_rl",
            *(word for setting in settings for word in ("--set", setting)), environment=nccl.environment(strikes),
        ).finish()  # fmt: skip

    status, output = run()
    assert "the rollout server was lost; restarting it, the step resumes" in output, output
    assert status == 0, output
    assert "resuming after optimizer step 1 of" in log.read_text()
