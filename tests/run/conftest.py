"""Running the real program: `python -m reasoning_pipeline run`, watched from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
import yaml

from reasoning_pipeline.base.yaml_files import merged, read_yaml
from reasoning_pipeline.hardware.profile import PROFILES_FOLDER
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.registry.store import Artifact, Registry

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_S = 900.0
"""Ends a run that hangs; one on a busy machine takes several times as long as on a quiet one."""
SMOKE = PROJECT / "recipes" / "smoke"

STARTED_BY = "REASONING_PIPELINE_TESTS"
os.environ[STARTED_BY] = str(os.getpid())  # in the environment of whatever these tests start


class Run:
    """One `python -m reasoning_pipeline …` process."""

    started: ClassVar[list[Run]] = []

    def __init__(self, *arguments: str | Path, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "reasoning_pipeline", *map(str, arguments)],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **(environment or {})},
        )
        self.tree, self.since = psutil.Process(self.process.pid), time.time()
        Run.started.append(self)

    def finish(self, timeout_s: float = PATIENCE_S) -> tuple[int, str]:
        """(exit status, everything printed)."""
        try:
            output, _ = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode, output

    def family(self, word: str) -> list[psutil.Process]:
        """Descendants whose command line holds this word."""
        found = []
        for process in self.tree.children(recursive=True):
            try:
                if word in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def wait_for_step(self, root: Path, stage: str, optimizer_step: int, timeout_s: float = PATIENCE_S) -> None:
        """Until the step of this stage has taken that many optimizer steps; others have run under this root before."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for path in (root / "work").glob(f"{stage}-*/progress.json"):
                try:
                    if path.stat().st_mtime > self.since and json.loads(path.read_text())["step"] >= optimizer_step:
                        return
                except (OSError, KeyError, json.JSONDecodeError):
                    pass
            if self.process.poll() is not None:
                pytest.fail(f"the run ended before {stage} came to step {optimizer_step}:\n{self.finish()[1]}")
            time.sleep(0.05)
        pytest.fail(f"{stage} did not come to step {optimizer_step} in {timeout_s} s")


def artifact_of(recipe: Path, step: str, root: Path) -> Artifact:
    """What a step of a recipe published."""
    (output,) = [one.output for one in make_plan(load_recipe(recipe), root).steps if one.name == step]
    artifact = Registry(root).get(output)
    assert artifact is not None
    return artifact


def profile_with(folder: Path, **changes: Any) -> Path:
    """The profile `cpu`, changed."""
    path = folder / "hardware.yaml"
    path.write_text(yaml.safe_dump(merged(read_yaml(PROFILES_FOLDER / "cpu.yaml"), {"name": "changed", **changes})))
    return path


@pytest.fixture(autouse=True)
def _no_run_outlives_its_test() -> Iterator[None]:
    """A test that fails half-way leaves nothing at work beside the next: steps and servers leave with their runner."""
    yield
    while Run.started:
        if (run := Run.started.pop()).process.poll() is None:
            run.process.kill()
            run.process.communicate()


def left_over(before: set[int], timeout_s: float = 180) -> list[str]:
    """Command lines of processes that the tests started, that did not exist before, and that are still there after
    `timeout_s`. Told from other people's runs on the machine by a variable in their environment."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = [text for process in psutil.process_iter() if (text := _ours(process, before)) is not None]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def _ours(process: psutil.Process, before: set[int]) -> str | None:
    try:
        if process.pid in before or process.environ().get(STARTED_BY) != os.environ[STARTED_BY]:
            return None
        words = " ".join(process.cmdline())
        running = process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    return words[:120] if running and any(name in words for name in ("vllm", "VLLM", "reasoning_pipeline")) else None
