"""Where every step stands: the registry first, then the queue, then what Slurm remembers of jobs that are over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
from tests.bench import publish
from tests.launch.conftest import Bench
from tests.launch.test_scripts import fake


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with stand-ins for Slurm's commands; jobs are numbered from 41."""
    folder = tmp_path / "bin"
    fake(folder, "sinfo", "echo main")
    fake(folder, "sbatch", f"n=$(cat {tmp_path}/n 2>/dev/null || echo 41); echo $n; echo $((n + 1)) > {tmp_path}/n")
    queue(folder)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("COLUMNS", "160")
    return folder


def queue(folder: Path, *lines: str) -> None:
    fake(folder, "squeue", "\n".join(f"echo '{line}'" for line in lines) or "true")


def row(bench: Bench, recipe: Path, step: str) -> list[str]:
    """The words of a step's row."""
    _, printed = bench.launch("status", recipe)
    return next(line.split() for line in printed.splitlines() if line.split()[:1] == [step])


def test_nothing_submitted_is_said_and_slurm_is_not_asked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    status, printed = bench.launch("status", bench.recipe("small"))
    assert status == 0 and printed.count("not submitted") == 2


def test_queued_waiting_and_running_steps(bench: Bench, slurm: Path) -> None:
    recipe = bench.recipe("small")
    assert bench.submit(recipe, bench.profile()) == {"base": "41", "rl": "42"}
    queue(slurm, "41|PENDING|0:00|10:00|Resources", "42|PENDING|0:00|10:00|Dependency")
    assert row(bench, recipe, "base") == ["base", "queued", "41", "Resources"]
    assert row(bench, recipe, "rl") == ["rl", "waiting", "42", "for", "base"]
    publish_base(bench, recipe)
    queue(slurm, "42|RUNNING|12:34|9:00|None")
    work = bench.root / "work" / make_plan(load_recipe(recipe), bench.root).step("rl").output
    work.mkdir(parents=True)
    (work / "progress.json").write_text(json.dumps({"step": 12, "total_steps": 40, "reward": 0.5, "seconds_left": 48}))
    assert row(bench, recipe, "base") == ["base", "complete"]
    assert row(bench, recipe, "rl") == ["rl", "running", "42", "12:34", "0:48", "step", "12/40", "·", "reward", "0.50"]


def test_a_job_that_ended_without_publishing_failed_and_its_log_is_shown(bench: Bench, slurm: Path) -> None:
    recipe = bench.recipe("small")
    bench.submit(recipe, bench.profile(), "--only", "base")
    fake(slurm, "sacct", "echo '41|TIMEOUT|00:10:02|0:15'")
    status, printed = bench.launch("status", recipe)
    assert status == 1 and "ran into its time limit" in printed
    assert "its node could not write its log: does it see the runs' folder?" in printed
    (bench.root / "small" / "logs" / "slurm" / "base-41.out").write_text("one\ntwo\nerror: the last line\n")
    assert "error: the last line" in bench.launch("status", recipe)[1]
    fake(slurm, "sacct", "echo '41|CANCELLED by 1000|00:00:02|0:15'")
    assert row(bench, recipe, "base")[:2] == ["base", "cancelled"]


def test_without_accounts_the_controller_is_asked_and_may_have_forgotten(bench: Bench, slurm: Path) -> None:
    recipe = bench.recipe("small")
    bench.submit(recipe, bench.profile(), "--only", "base")
    fake(slurm, "scontrol", "echo 'JobId=41 JobState=FAILED Reason=NonZeroExitCode RunTime=00:00:09 ExitCode=2:0'")
    assert row(bench, recipe, "base")[:6] == ["base", "failed", "41", "00:00:09", "exit", "2:0;"]
    fake(slurm, "scontrol", "echo 'Invalid job id specified' >&2; exit 1")
    assert row(bench, recipe, "base")[:4] == ["base", "failed", "41", "ended;"]


def test_status_and_cancel_remember_what_was_submitted(bench: Bench, slurm: Path) -> None:
    recipe = bench.recipe("small")
    bench.submit(recipe, bench.profile(), "--set", "steps.rl.learning_rate=2e-4", "--seeds", "3,4")
    queue(slurm, *(f"{job}_{task}|PENDING|0:00|10:00|None" for job in (41, 42) for task in (0, 1)))
    cancelled = slurm.parent / "cancelled"
    fake(slurm, "scancel", f"echo $* > {cancelled}")
    status, printed = bench.launch("status", recipe)
    assert status == 0 and printed.count("queued") == 4, printed
    assert bench.launch("cancel", recipe)[0] == 0
    assert sorted(cancelled.read_text().split()) == ["--quiet", "41_0", "41_1", "42_0", "42_1"]


def test_what_to_type_next_has_the_options_that_were_given(bench: Bench, slurm: Path) -> None:
    recipe, profile = bench.recipe("small"), bench.profile()
    options = ("--hardware", profile, "--set", "steps.rl.learning_rate=2e-4")
    status, printed = bench.launch("slurm", recipe, *options, "--seeds", "3,4")
    said = f"{recipe} --root {bench.root} --hardware {profile} --set steps.rl.learning_rate=2e-4"
    assert status == 0 and f"`python -m launch status {said} --seeds 3,4`" in printed
    queue(slurm)
    plan = make_plan(load_recipe(recipe, ["steps.rl.learning_rate=2e-4"]), bench.root, (3, 4))
    for step in plan.steps:
        publish(plan, step, {"config.json": "{}", "model.safetensors": "weights"})
    said = f"{recipe} --root {bench.root} --set steps.rl.learning_rate=2e-4 --arm main --seeds 3,4"
    assert f"`python -m reasoning_pipeline report {said}`" in bench.launch("status", recipe)[1]


def test_a_damaged_list_of_what_was_submitted_is_named(bench: Bench) -> None:
    recipe = bench.recipe("small")
    (bench.root / "small").mkdir(parents=True)
    (bench.root / "small" / "slurm.json").write_text("{")
    status, printed = bench.launch("status", recipe)
    assert status == 1 and "slurm.json: cannot be read" in printed and "squeue --me" in printed


def publish_base(bench: Bench, recipe: Path) -> None:
    plan = make_plan(load_recipe(recipe), bench.root)
    publish(plan, plan.step("base"), {"config.json": "{}", "model.safetensors": "weights"})
