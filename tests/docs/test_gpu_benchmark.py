"""benchmarks/gpu.py, which nobody here can run in earnest: that it runs at all."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_step_is_measured_and_what_needs_a_gpu_says_so() -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu"]
    done = subprocess.run(
        [*command, "--only", "push-nccl", "--only", "sparse_grpo"],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| nccl | | left out: it needs a GPU |" in done.stdout
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("| sparse_grpo |")]
    tokens_per_s = float(row.split("|")[4].replace(",", ""))
    assert tokens_per_s > 0 and "not measured" in row and "FAILED" not in row
