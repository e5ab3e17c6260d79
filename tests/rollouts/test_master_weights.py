"""What DeepSpeed publishes of a training in bfloat16: the float32 weights, not their rounding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reasoning_pipeline.hardware.addresses import free_port
from tests.bench import PROJECT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("sharding", "more"), [("zero2.yaml", []), ("zero3.yaml", []), ("zero3.yaml", ["lora"])])
def test_two_processes_publish_the_master_weights_of_bfloat16(sharding: str, more: list[str], tiny_model: Path) -> None:
    config = PROJECT / "reasoning_pipeline" / "hardware" / "accelerate" / sharding
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(config), "--num_processes", "2"]
    script = Path(__file__).with_name("master_weights.py")
    done = subprocess.run(
        [sys.executable, *launch, "--main_process_port", str(free_port()), str(script), str(tiny_model), *more],
        cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "published the master" in done.stdout, done.stderr[-3000:]
