"""What a processor says of itself: bfloat16 only where it multiplies in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasoning_pipeline.hardware import processor
from reasoning_pipeline.hardware.processor import cpu_precision
from reasoning_pipeline.hardware.profile import HardwareProfile, load_profile


@pytest.mark.parametrize(
    ("line", "precision"),
    [
        ("flags\t\t: fpu sse2 avx avx2 fma avx512f avx512_bf16 vaes", "bfloat16"),
        ("flags\t\t: fpu avx2 amx_bf16 amx_tile", "bfloat16"),
        ("Features\t: fp asimd bf16 sve", "bfloat16"),  # Arm
        ("flags\t\t: fpu sse2 avx avx2 fma avx512f", "float32"),  # converts in software, many times slower
        ("model name\t: bf16 avx512_bf16", "float32"),
    ],
)
def test_the_flags_decide(line: str, precision: str, tmp_path: Path):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\nbugs\t: none\n")
    assert cpu_precision(tmp_path / "cpuinfo") == precision


def test_nobody_tells():
    assert cpu_precision(Path("/nowhere/cpuinfo")) == "float32"


def test_a_profile_says_auto_and_means_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from reasoning_pipeline.hardware import profile as module

    for precision in ("bfloat16", "float32"):
        monkeypatch.setattr(module, "cpu_precision", lambda found=precision: found)
        assert load_profile("cpu_real").precision == precision
        assert HardwareProfile(precision="auto").precision == precision  # type: ignore[arg-type]
    assert load_profile("cpu").precision == "float32"


def test_cores_are_those_that_we_may_use(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processor.os, "sched_getaffinity", lambda pid: {3, 5, 7})
    assert processor.cores() == 3
