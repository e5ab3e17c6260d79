"""What a record says of the circumstances: code revision, versions, hardware, time. No path, no user, no secret."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("reasoning-pipeline", "torch", "transformers", "trl", "vllm", "accelerate", "deepspeed", "datasets",
            "peft", "math-verify", "latex2sympy2_extended", "sympy", "antlr4-python3-runtime", "numpy")  # fmt: skip


def provenance(profile: str, seconds: float) -> dict[str, Any]:
    """Plain JSON for a record's `provenance`."""
    return {
        "code": code_revision(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "hardware": {"profile": profile, "machine": platform.machine(), "cpus": os.cpu_count(), "gpus": gpu_names()},
        "wall_seconds": round(seconds, 2),
        "cpu_seconds": round(sum(os.times()[:4]), 2),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def package_versions() -> dict[str, str]:
    """Installed versions of the packages a result depends on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def code_revision() -> dict[str, Any]:
    """Commit of the code that runs, and whether it was changed since; empty outside a checkout."""
    folder = Path(__file__).resolve().parent
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return {}


def gpu_names() -> list[str]:
    """Names of the GPUs this process uses; empty on CPUs. Looks only where torch is loaded already."""
    import sys

    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
