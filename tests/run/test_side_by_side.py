"""Steps side by side, forked from a process that has imported the libraries: the same results, and nothing is lost."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import psutil
import pytest

from reasoning_pipeline.plan.graph import Plan
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.run.context import STOP_VARIABLE
from tests.run.conftest import PATIENCE_S, PROJECT, SMOKE, Run, left_over

PROFILE = "cpu_side_by_side"

RECIPE = f"""
extends: {SMOKE / "_world.yaml"}
name: beside
steps:
  teacher_base: {{clean_steps: 30}}
  polish:
    stage: extra_rl
    policy: step:student_base
    spends: second
    problems_per_step: 2
    group_size: 2
    steps: 4
    max_prompt_tokens: 32
    max_completion_tokens: 8
outcome: polish
arms:
  other: {{steps: {{polish: {{learning_rate: 1e-3}}}}}}
evaluate: {{suites: [arithmetic], samples: 2, limit: 8, max_tokens: 8, of: []}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "beside.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def planned(recipe: Path, root: Path) -> Plan:
    return make_plan(load_recipe(recipe), root)


def digests(plan: Plan) -> dict[str, dict[str, str]]:
    """Step -> digests of the weights it made."""
    return {
        step.name: {
            name: digest for name, digest in step.artifact.record.files.items() if name.endswith(".safetensors")
        }
        for step in plan.steps
        if step.artifact is not None and type(step.config).publishes == "checkpoint"
    }


def accuracies(plan: Plan) -> list[object]:
    """Of every evaluation, as recorded."""
    artifacts = [step.artifact for step in plan.steps if step.config.stage == "evaluate"]
    return [artifact.record.result["suites"] for artifact in artifacts if artifact is not None]


@pytest.mark.slow
def test_two_at_a_time_give_what_one_after_the_other_gives(recipe: Path, tmp_path: Path) -> None:
    before = set(psutil.pids())
    status, output = Run("run", recipe, "--arms", "--hardware", PROFILE, "--root", tmp_path / "two").finish()
    assert status == 0, output
    # the main arm, each step a process of its own
    status, output_one = Run("run", recipe, "--hardware", "cpu_transformers", "--root", tmp_path / "one").finish()
    assert status == 0, output_one
    two, one = planned(recipe, tmp_path / "two"), planned(recipe, tmp_path / "one")
    assert (len(digests(two)), len(digests(one))) == (4, 3) and digests(one).items() <= digests(two).items()
    scores = [accuracies(plan) for plan in (one, two)]
    assert (len(scores[1]), len(scores[0])) == (2, 1) and scores[0][0] in scores[1]
    log = (tmp_path / "two" / "beside" / "logs" / "polish.log").read_text(encoding="utf-8")
    assert "published extra_rl-" in log
    assert re.search(r"; \d:\d\d left", output), output
    assert left_over(before) == []


@pytest.mark.slow
def test_one_that_fails_stops_the_other_with_a_resume_point(recipe: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    longer = ["--set", "steps.teacher_base.clean_steps=100000", "--set", "steps.teacher_base.save_every=100000"]
    longer += ["--set", "steps.student_base.clean_steps=50000"]
    # Of a job that was cleared away; the step is asked all the same.
    gone = {STOP_VARIABLE: str(tmp_path / "gone" / "stop")}
    running = Run("run", recipe, *longer, "--hardware", PROFILE, "--root", root, environment=gone)
    running.wait_for_step(root, "pretrain", 20)
    contexts = (root / "work").glob("pretrain-*/context.json")
    victim = next(path.parent for path in contexts if ": 50000," in path.read_text(encoding="utf-8"))
    pid = next(
        process.pid
        for process in running.tree.children(recursive=True)
        if str(victim) in " ".join(file.path for file in process.open_files())
    )
    psutil.Process(pid).send_signal(signal.SIGKILL)
    status, output = running.finish()
    assert status == 1 and "step student_base failed (killed by SIGKILL)" in output, output
    points = list((root / "work").glob("pretrain-*/checkpoints/checkpoint-*"))
    assert points, "the step beside it left no resume point"


@pytest.mark.slow
def test_a_fault_while_stopping_is_told_and_leaves_nothing_at_work(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import reasoning_pipeline.run.process as process\n"
        "def grace_s(*_): raise LookupError('no grace')\n"
        "process.grace_s = grace_s\n"
    )
    root, before = tmp_path / "runs", set(psutil.pids())
    slow = ["--set", "steps.teacher_base.clean_steps=100000", "--set", "steps.student_base.clean_steps=100000"]
    path = os.pathsep.join([str(tmp_path), str(PROJECT)])
    running = Run("run", recipe, *slow, "--hardware", PROFILE, "--root", root, environment={"PYTHONPATH": path})
    running.wait_for_step(root, "pretrain", 10)
    running.process.send_signal(signal.SIGINT)
    status, output = running.finish(120)
    assert status == 130 and "LookupError('no grace')" in output, output
    assert left_over(before) == []


@pytest.mark.slow
def test_ctrl_c_stops_both_and_the_next_run_goes_on(recipe: Path, tmp_path: Path) -> None:
    root, before = tmp_path / "runs", set(psutil.pids())
    slow = ["--set", "steps.teacher_base.clean_steps=100000", "--set", "steps.student_base.clean_steps=100000"]
    running = Run("run", recipe, *slow, "--hardware", PROFILE, "--root", root)
    running.wait_for_step(root, "pretrain", 10)
    deadline = time.monotonic() + PATIENCE_S
    while len(list((root / "work").glob("pretrain-*/progress.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    running.process.send_signal(signal.SIGINT)
    status, output = running.finish()
    assert status == 130, output
    resumable = {path.parent.parent.name for path in (root / "work").glob("pretrain-*/checkpoints/checkpoint-*")}
    assert len(resumable) == 2, output
    assert left_over(before) == []
