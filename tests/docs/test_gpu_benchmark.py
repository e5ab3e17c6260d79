"""benchmarks/gpu.py, which nobody here can run in earnest: that it runs at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu


@pytest.mark.parametrize(
    ("program", "seconds", "why"),
    [
        ("raise SystemExit('no such kernel')", 60, "no such kernel"),
        ("import time; time.sleep(60)", 1, "not within 1 s"),
    ],
)
def test_a_part_that_fails_or_hangs_says_why_and_keeps_what_it_said(
    program: str, seconds: float, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "PROJECT", tmp_path)
    command = [sys.executable, "-c", f"print('first words', flush=True)\n{program}"]
    assert gpu.ended("part", command, seconds)[1] == f"{why} (runs/gpu-part.log)"
    assert "first words" in (tmp_path / "runs" / "gpu-part.log").read_text()


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
