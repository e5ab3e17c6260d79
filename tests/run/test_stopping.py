"""Stopping and failing, with step programs that are none: what a person is told is what is true."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from reasoning_pipeline.base.logs import OLDER_LOGS, new_attempt
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.run.metrics import longest_optimizer_step
from reasoning_pipeline.run.stopping import grace_s, last_resume_point
from tests.bench import PROJECT, Bench

RUN = """
import sys
from reasoning_pipeline.__main__ import main
from reasoning_pipeline.run import process
process.step_command = lambda step, profile, context: [sys.executable, "-c", {step!r}, str(context.parent)]
sys.exit(main(sys.argv[1:]))
"""
"""`python -m reasoning_pipeline` with another program behind each step."""

BUSY = """
import signal, sys, time
from pathlib import Path
work = Path(sys.argv[1])
signal.signal(signal.SIGTERM, signal.SIG_IGN)  # an optimizer step that takes long
{more}
(work / "started").touch()
time.sleep(120)
"""
IGNORING = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")
"""As a script starts `command &`: SIGINT ignored, which what it starts inherits."""
POINT = 'point = work / "checkpoints/checkpoint-4"; point.mkdir(parents=True); (point / "complete").touch()'
HALF = '(work / "checkpoints/checkpoint-4").mkdir(parents=True)'
OF_A_SESSION_OF_ITS_OWN = (
    "import subprocess\n"
    "own = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(120)'], start_new_session=True)\n"
    "(work / 'worker').write_text(str(own.pid))"
)


class Started:
    """A run of the bench's first step, in a process of its own."""

    def __init__(self, bench: Bench, step: str, grace: float, *, ignoring_interrupts: bool = False) -> None:
        profile = bench.write(f"engine: transformers\nstop_grace_s: {grace}\n", "mine.yaml")
        self.root = bench.root
        arguments = ["run", bench.changed(), "--hardware", profile, "--root", bench.root, "--until", "teacher_base"]
        self.process = subprocess.Popen(
            [
                *(IGNORING if ignoring_interrupts else ()),
                sys.executable,
                "-c",
                RUN.format(step=step),
                *map(str, arguments),
            ],
            cwd=PROJECT,
            env={**os.environ, "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def work(self, name: str = "started") -> Path:
        """The step's folder, once its program has left a file there."""
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and self.process.poll() is None:
            for path in self.root.glob(f"work/*/{name}"):
                return path.parent
            time.sleep(0.02)
        raise AssertionError(f"the step did not start: {self.end()}")

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str]:
        try:
            output, _ = self.process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode, output


@pytest.mark.parametrize(
    ("more", "point", "ignoring_interrupts"),
    [(HALF, "none, it will begin anew", False), (POINT, "step 4", True)],
    ids=["half a resume point", "a whole one, and a parent that ignores Ctrl-C"],
)
def test_a_step_that_does_not_stop_is_killed_and_its_last_resume_point_told(
    bench: Bench, more: str, point: str, ignoring_interrupts: bool
):
    run = Started(bench, BUSY.format(more=more), grace=0.5, ignoring_interrupts=ignoring_interrupts)
    run.work()
    run.interrupt()
    status, output = run.end()
    assert status == 130
    told = f"before it had stopped; last resume point: {point}\n"
    assert re.search(rf"error: teacher_base was killed after \d+ s, {told}", output), output
    assert "kept" not in output and "→ continue with `python -m reasoning_pipeline run " in output


def test_one_that_stops_in_time_says_where_it_will_go_on(bench: Bench):
    stops = BUSY.format(more=POINT).replace("signal.SIG_IGN", "lambda number, frame: sys.exit(130)")
    run = Started(bench, stops, grace=20)
    run.work()
    run.interrupt()
    status, output = run.end()
    assert status == 130 and "error: teacher_base was stopped; last resume point: step 4\n" in output, output


def test_one_that_came_to_its_end_meanwhile_is_said_to_be_published(bench: Bench):
    publishes = (
        "from reasoning_pipeline.plan.planner import make_plan\n"
        "from reasoning_pipeline.recipe.reading import load_recipe\n"
        "from tests.bench import MODEL_FILES, publish\n"
        f"plan = make_plan(load_recipe({str(bench.changed())!r}), Path({str(bench.root)!r}))\n"
        "def leave(number, frame):\n    publish(plan, plan.step('teacher_base'), MODEL_FILES)\n    sys.exit(0)"
    )
    run = Started(bench, BUSY.format(more=publishes).replace("signal.SIG_IGN)", "lambda n, f: leave(n, f))"), grace=20)
    run.work()
    run.interrupt()
    status, output = run.end()
    assert status == 130 and "error: stopped; teacher_base had come to its end and is published\n" in output, output


def test_the_optimizer_step_under_way_may_end_however_short_the_grace(bench: Bench):
    # rows at 1 and 7 s: an optimizer step takes up to 6 s, so 0.1 s of grace is 0.1 + 9; the program leaves after 1
    rows = "\\n".join(json.dumps(row) for row in [{"step": 1, "seconds": 1.0}, {"step": 2, "seconds": 7.0}])
    more = f"(work / 'metrics.jsonl').write_text('{rows}\\n')\n"
    more += "def leave(number, frame):\n    time.sleep(1)\n    " + POINT + "\n    sys.exit(130)\n"
    run = Started(
        bench, BUSY.format(more=more).replace("signal.SIG_IGN)  #", "lambda n, f: leave(n, f))  #"), grace=0.1
    )
    run.work()
    run.interrupt()
    status, output = run.end()
    assert status == 130 and "teacher_base was stopped; last resume point: step 4" in output, output


def test_a_second_ctrl_c_kills_at_once_and_with_it_what_has_a_session_of_its_own(bench: Bench):
    run = Started(bench, BUSY.format(more=OF_A_SESSION_OF_ITS_OWN), grace=600)
    worker = psutil.Process(int((run.work() / "worker").read_text()))
    run.interrupt()
    time.sleep(0.3)
    run.interrupt()  # the same Ctrl-C, passed on by make
    time.sleep(1.2)
    assert run.process.poll() is None and worker.is_running()
    began = time.monotonic()
    run.interrupt()
    status, output = run.end()
    assert status == 130 and time.monotonic() - began < 100
    assert re.search(r"teacher_base was killed after \d+ s", output), output
    psutil.wait_procs([worker], timeout=60)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("program", ["reasoning_pipeline.commands.run._run", "evals.cli.main"])
def test_every_program_answers_ctrl_c_where_its_parent_ignores_it(program: str):
    module, _, name = program.rpartition(".")
    code = (
        "import importlib, sys, time\n"
        f"module = importlib.import_module({module!r})\n"
        f"def busy(arguments):\n    print('busy', flush=True)\n    time.sleep(60)\n"
        f"module.{name} = busy\n"
        f"from {module.partition('.')[0]}.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [*IGNORING, sys.executable, "-c", code, "run", "recipes/smoke/pretrain.yaml"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "busy\n"
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130 and "stopped" in output, output


def test_a_rerun_keeps_the_log_of_the_failure_it_follows(bench: Bench):
    log = bench.root / "small" / "logs" / "teacher_base.log"
    log.parent.mkdir(parents=True)
    log.write_text("attempt 0\n")
    status, output = Started(bench, "print('attempt 1'); raise SystemExit(3)", grace=1).end()
    assert status == 1 and f"full log: {log}" in output and log.read_text() == "attempt 1\n"
    assert log.with_name("teacher_base.1.log").read_text() == "attempt 0\n"


def test_so_many_older_logs_are_kept(tmp_path: Path):
    for number in range(9):
        new_attempt(tmp_path / "step.log").write_text(str(number))
    logs = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert logs == {"step.log": "8", **{f"step.{age}.log": str(8 - age) for age in range(1, OLDER_LOGS + 1)}}


def test_only_whole_resume_points_count_and_optimizer_steps_are_measured_between_rows(tmp_path: Path):
    assert last_resume_point(tmp_path) is None and longest_optimizer_step(tmp_path) is None
    for step, whole in ((5, True), (10, True), (15, False)):
        point = tmp_path / "checkpoints" / f"checkpoint-{step}"
        point.mkdir(parents=True)
        if whole:
            (point / "complete").touch()
    assert last_resume_point(tmp_path) == 10
    seconds = [2.0, 3.0, 10.0, 11.0]
    rows = [{"step": step, "seconds": second} for step, second in enumerate(seconds, start=1)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert longest_optimizer_step(tmp_path) == 7.0


def test_before_a_step_is_measured_the_estimate_gives_the_grace(bench: Bench, tmp_path: Path):
    plan = bench.plan(lambda recipe: recipe["steps"]["teacher_rl"].update(steps=4, epochs=None))
    step = plan.step("teacher_rl")
    slow = HardwareProfile(stop_grace_s=60, peak_tflops=1e-6, memory_bandwidth_gbs=1e-3)
    assert grace_s(plan, step, slow, tmp_path) > 70
    assert grace_s(plan, step, HardwareProfile(stop_grace_s=60), tmp_path) == 60, "unknown where speeds are"
