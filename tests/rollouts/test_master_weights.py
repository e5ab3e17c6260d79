"""What DeepSpeed publishes of a training in bfloat16: the float32 weights, not their rounding."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.bench import PROJECT
from tests.rollouts.test_trainers import LAUNCH

pytestmark = pytest.mark.slow


def test_two_processes_publish_the_master_weights_of_bfloat16(tiny_model: Path) -> None:
    done = subprocess.run(
        [*LAUNCH, "-m", "tests.rollouts.master_weights", str(tiny_model)],
        cwd=PROJECT, env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said = [line for line in done.stdout.splitlines() if line.startswith("the master's: ")]
    assert said == [f"the master's: {way}" for way in ("ZeRO-2", "ZeRO-2 LoRA", "ZeRO-3", "ZeRO-3 LoRA")]
