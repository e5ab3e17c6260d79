"""Behind `accelerate launch`: two processes under DeepSpeed ZeRO-3, their weights gathered, pushed and proved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from reasoning_pipeline.registry.store import Registry
from tests.run.conftest import SMOKE, Run

pytestmark = pytest.mark.slow


def test_zero3_on_two_processes_trains_and_its_pushes_are_proved(smoke_root: Path) -> None:
    status, output = Run(
        "run", SMOKE / "sparse_grpo.yaml", "--root", smoke_root, "--hardware", "cpu_zero3",
        "--set", "steps.teacher_rl.seed=3",
    ).finish()  # fmt: skip
    assert status == 0, output
    made = [a for a in Registry(smoke_root).artifacts() if a.record.provenance["hardware"]["profile"] == "cpu_zero3"]
    (artifact,) = [a for a in made if a.record.stage == "sparse_grpo"]
    rows = [json.loads(line) for line in (artifact.folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["probe_error"] < 1e-4 for row in rows)
    assert artifact.record.result["tokens_generated"] > 0
    with safe_open(artifact.folder / "model.safetensors", framework="np") as weights:
        assert "lm_head.weight" not in weights.keys(), "a tied head is published once"  # noqa: SIM118
