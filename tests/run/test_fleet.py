"""Two servers behind one step: one is killed while it works, the step goes on; and where the run's key may be seen."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from reasoning_pipeline.rollouts.servers import register
from tests.run.conftest import SMOKE, Run, profile_with

pytestmark = pytest.mark.slow


def test_a_step_with_two_servers_survives_the_loss_of_one(smoke_root: Path, tmp_path: Path) -> None:
    profile = profile_with(tmp_path, server={"count": 2})
    longer = ["--set", "steps.teacher_rl.steps=8", "--until", "teacher_rl"]
    run = Run("run", SMOKE / "extra_rl.yaml", "--root", smoke_root, "--hardware", profile, *longer)
    run.wait_for_step(smoke_root, "sparse_grpo", 3)
    servers, _ = register.read(smoke_root / register.FOLDER)
    assert len(servers) == 2
    key = psutil.Process(servers[0].pid).environ()["VLLM_API_KEY"]
    family = run.tree.children(recursive=True)
    lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    for process in [victim := psutil.Process(servers[0].pid), *victim.children(recursive=True)]:
        process.kill()
    files = [path for path in smoke_root.rglob("*") if path.is_file()]
    status, output = run.finish()
    assert status == 0, output
    log = (smoke_root / "smoke" / "logs" / "teacher_rl.log").read_text()
    assert f"{servers[0].url} is gone" in log and "going on with 1 of 2 servers" in log
    assert len(key) > 30 and not [line for line in lines if key in line]
    left = [path for path in {*files, *smoke_root.rglob("*")} if path.is_file()]
    assert not [path for path in left if key.encode() in path.read_bytes()]
    assert any(path.name == "plan.json" for path in files) and any(path.name == "context.json" for path in files)
    assert not psutil.wait_procs(family, timeout=180)[1], "nothing is left running"
    assert not list((smoke_root / register.FOLDER).glob("*.json"))
