"""What this machine's processor can do: how many cores are ours, and whether it computes in bfloat16."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

CPUINFO = Path("/proc/cpuinfo")
COMPUTE_IN_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}
"""Flags of processors that multiply in bfloat16 (x86, Arm). Others convert each operand first, and are many times
slower than in float32."""


def cores() -> int:
    """Those that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_precision(cpuinfo: Path = CPUINFO) -> Literal["float32", "bfloat16"]:
    """The faster one here; float32 where nobody tells what the processor can do."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "float32"
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return "bfloat16" if COMPUTE_IN_BFLOAT16 & set(flags.partition(":")[2].split()) else "float32"
