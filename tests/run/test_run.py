"""The whole way, for real: a recipe through all stages, a real vLLM server, and everything that may be killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.registry.store import Registry
from reasoning_pipeline.rollouts.servers import register
from tests.run.conftest import SMOKE, Run, left_over, profile_with

pytestmark = pytest.mark.slow

RECIPE = SMOKE / "extra_rl.yaml"
LONG = ["--set", "steps.teacher_rl.steps=60", "--set", "steps.teacher_rl.save_every=5", "--until", "teacher_rl"]


def test_all_four_stages_leave_what_they_promise(smoke_root: Path) -> None:
    before = {process.pid for process in psutil.process_iter()}
    status, output = Run("run", RECIPE, "--root", smoke_root).finish()
    assert status == 0, output
    registry = Registry(smoke_root)
    found = {step.name: registry.get(step.output) for step in make_plan(load_recipe(RECIPE), smoke_root).steps}
    published = {name: artifact for name, artifact in found.items() if artifact is not None}
    assert published.keys() == found.keys()
    assert not [problem for artifact in published.values() for problem in registry.verify(artifact)]
    polish = published["polish"].record
    assert [(spend.step, spend.pool, spend.labels) for spend in polish.label_spend if spend.labels] == [
        ("teacher_rl", "first", 16),
        ("polish", "second", 16),
    ]
    rows = [json.loads(line) for line in (published["teacher_rl"].folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["probe_error"] < 1e-4 and row["push_seconds"] > 0 for row in rows), "every push was proved"
    versions = {
        json.loads(line)["policy_version"]
        for line in (published["teacher_rollouts"].folder / "rollouts.jsonl").read_text().splitlines()
    }
    assert versions == {published["teacher_rollouts"].name}
    assert "report.html" in output
    assert left_over(before) == []


def test_one_step_survives_the_loss_of_one_of_two_servers_ctrl_c_and_lost_servers(
    smoke_root: Path, tmp_path: Path
) -> None:
    before = {process.pid for process in psutil.process_iter()}
    log = smoke_root / "smoke" / "logs" / "teacher_rl.log"

    two = profile_with(tmp_path, server={"count": 2})
    run = Run("run", RECIPE, "--root", smoke_root, "--hardware", two, *LONG)
    run.wait_for_step(smoke_root, "sparse_grpo", 3)
    servers, _ = register.read(smoke_root / register.FOLDER)
    assert len(servers) == 2
    key = psutil.Process(servers[0].pid).environ()["VLLM_API_KEY"]
    lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    for process in [victim := psutil.Process(servers[0].pid), *victim.children(recursive=True)]:
        process.kill()
    files = {path for path in smoke_root.rglob("*") if path.is_file()}
    run.wait_for_step(smoke_root, "sparse_grpo", 7)
    told = log.read_text()
    assert f"{servers[0].url} is gone" in told and "going on with 1 of 2 servers" in told
    run.process.send_signal(signal.SIGINT)
    status, output = run.finish()
    assert status == 130, output
    assert "continue" in output and "Traceback" not in output
    assert left_over(before) == [] and not list((smoke_root / register.FOLDER).glob("*.json"))
    assert len(key) > 30 and not [line for line in lines if key in line]
    left = [path for path in {*files, *smoke_root.rglob("*")} if path.is_file()]
    assert not [path for path in left if key.encode() in path.read_bytes()]
    assert {"plan.json", "context.json"} <= {path.name for path in files}

    run = Run("run", RECIPE, "--root", smoke_root, *LONG)
    for optimizer_step in (12, 20):
        run.wait_for_step(smoke_root, "sparse_grpo", optimizer_step)
        for process in run.family("vllm.entrypoints"):
            process.kill()
    while run.process.poll() is None:  # the third does not come up any more
        third = log.parent / "server-3.log"
        for process in run.family("vllm.entrypoints") if third.is_file() and third.stat().st_mtime > run.since else ():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.2)
    status, output = run.finish()
    assert status == 1, "a server that is lost twice with nothing kept in between ends the run"
    assert output.count("the rollout server was lost; restarting it") == 2
    assert "error: step teacher_rl: the rollout server did not start" in output
    assert "no work was kept since one was lost whose log ended with" in output
    logs = [log, log.with_name("teacher_rl.1.log")]
    points = [int(re.search(r"resuming after optimizer step (\d+)", path.read_text())[1]) for path in logs]
    assert points[1] >= 7, "what Ctrl-C saved was not done again"
    assert points[0] >= 10, "at most the work since the last resume point is lost"
    assert left_over(before) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="a full disk is made by mounting a small one, which root may do")
def test_a_full_disk_ends_with_one_message_and_work_goes_on_when_there_is_space(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        status, output = Run("run", SMOKE / "pretrain.yaml", "--root", small).finish()
        assert status == 1, output
        assert "no space left" in output.lower() and "free space" in output
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        status, output = Run("run", SMOKE / "pretrain.yaml", "--root", small).finish()
        assert status == 0, output
    finally:
        subprocess.run(["umount", str(small)], check=True)
