"""What the tests of launching share: recipes and profiles to submit, the command line, a real Slurm."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml

from launch.__main__ import main
from tests.launch.cluster import Cluster, why_not

PROJECT = Path(__file__).resolve().parents[2]
SMOKE = PROJECT / "recipes" / "smoke"

TINY = {"hidden_size": 32, "layers": 1, "heads": 1, "head_dim": 32, "max_positions": 128}
RECIPE: dict[str, Any] = {
    "data": {"problems": {"source": "arithmetic", "count": 32, "pools": {"first": 1}}},
    "steps": {
        "base": {"stage": "pretrain", "architecture": TINY, "clean_steps": 5},
        "rl": {
            "stage": "sparse_grpo", "policy": "step:base", "spends": "first", "problems_per_step": 4, "group_size": 2,
            "steps": 40, "learning_rate": 1e-4, "save_every": 5, "max_prompt_tokens": 32, "max_completion_tokens": 24,
        },
    },
}  # fmt: skip
"""A base model and GRPO on it."""


def launch(*arguments: str | Path) -> tuple[int, str]:
    """`python -m launch …` in this process: (exit status, everything printed)."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        status = main([str(argument) for argument in arguments])
    return status, printed.getvalue()


class Bench:
    """A folder with recipes, profiles and runs.

    Example:
        bench.submit(bench.recipe("limited", steps=900), bench.profile(time_limit="1"))
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "runs"

    def recipe(self, name: str, **rl: Any) -> Path:
        steps = {"base": RECIPE["steps"]["base"] | rl.pop("base", {}), "rl": RECIPE["steps"]["rl"] | rl}
        return self._write(f"{name}.yaml", {"name": name, **RECIPE, "steps": steps})

    def profile(self, name: str = "cluster", top: dict[str, Any] | None = None, **slurm: Any) -> Path:
        values = {
            "engine": "transformers",
            "environment": {"OMP_NUM_THREADS": "1"},
            "stop_grace_s": 20,
            "slurm": {"partition": "main", "cpus_per_task": 1, "time_limit": "10", "signal_lead_s": 30} | slurm,
        }
        return self._write(f"{name}.yaml", values | (top or {}))

    def launch(self, command: str, recipe: Path, *arguments: str | Path) -> tuple[int, str]:
        return launch(command, recipe, "--root", self.root, *arguments)

    def submit(self, recipe: Path, profile: Path, *arguments: str) -> dict[str, str]:
        """Step -> job number."""
        status, printed = self.launch("slurm", recipe, "--hardware", profile, *arguments)
        assert status == 0, printed
        return {entry["step"]: entry["job"] for entry in self.submissions(recipe)}

    def submissions(self, recipe: Path) -> list[dict[str, Any]]:
        name = yaml.safe_load(recipe.read_text()).get("name", "smoke")
        return json.loads((self.root / name / "slurm.json").read_text())["submissions"]

    def _write(self, name: str, values: dict[str, Any]) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        return path


@pytest.fixture(autouse=True)
def _offline_ends_with_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """`status` and `cancel` switch the hub off for their process, which is ours here."""
    monkeypatch.setenv("HF_HUB_OFFLINE", os.environ.get("HF_HUB_OFFLINE", "0"))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    running = Cluster()
    try:
        running.start()
        yield running
    finally:
        running.stop()
