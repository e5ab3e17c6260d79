"""What a record says of the circumstances: code revision, versions, hardware, time. No path, no user, no secret."""

from __future__ import annotations

import os
import platform
import re
import resource
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from reasoning_pipeline.hardware.environment import circumstances

PACKAGES = ("reasoning-pipeline", "torch", "transformers", "trl", "vllm", "accelerate", "deepspeed", "datasets",
            "peft", "math-verify", "latex2sympy2_extended", "sympy", "antlr4-python3-runtime", "numpy")  # fmt: skip

COMMAND_VARIABLE = "REASONING_PIPELINE_COMMAND"
"""What a person typed, told by the runner to the steps' programs."""

DIFF_FILE = "code.diff"
"""Beside the record where the code was changed since its commit."""

MOST_DIFF_BYTES = 1 << 20

_SECRET = re.compile(r"\b(hf_|sk-|ghp_|gho_|github_pat_|glpat-|xox[bp]-|AKIA|AIza)[A-Za-z0-9_-]{8,}")


def provenance(profile: str, seconds: float, processes: int = 1) -> dict[str, Any]:
    """Plain JSON for a record's `provenance`. Measured in the process that publishes, the first of `processes`."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu_seconds = sum(usage.ru_utime + usage.ru_stime for usage in (own, children))
    gpus = gpu_names()
    return without_places(
        {
            "command": os.environ.get(COMMAND_VARIABLE),
            "code": code_revision(),
            "python": platform.python_version(),
            "packages": package_versions(),
            "hardware": {
                "profile": profile,
                "machine": platform.machine(),
                "cpu": cpu_model(),
                "cpus": os.cpu_count(),
                "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
                "gpus": gpus,
                "processes": processes,
                "environment": circumstances(os.environ),
            },
            "wall_seconds": round(seconds, 2),
            "cpu_seconds": round(cpu_seconds, 2),
            # The rollout server works beside the trainer and outlives a step; it is not in these hours.
            "cpu_hours": round(processes * cpu_seconds / 3600, 4),
            "gpu_hours": round(processes * seconds / 3600, 4) if gpus else 0.0,
            "peak_memory_mib": max(own.ru_maxrss, children.ru_maxrss) // 1024,
            "peak_gpu_memory_mib": peak_gpu_memory_mib(),
        }
    )


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
    """Commit of the code that runs, and whether it was changed since; empty outside a checkout of it."""
    try:
        # Installed into somebody's own repository, git would tell of theirs.
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        return {"commit": _git("rev-parse", "HEAD").strip(), "dirty": bool(_git("diff", "HEAD", "--name-only"))}
    except (OSError, subprocess.SubprocessError):
        return {}


def write_code_diff(folder: Path) -> None:
    """Write what tracked files have that their commit has not, where there is such a thing. At most 1 MiB."""
    if not code_revision().get("dirty"):
        return
    try:
        text = _git("diff", "HEAD", "--no-color", "--no-ext-diff")
    except (OSError, subprocess.SubprocessError):
        return
    content = _SECRET.sub("…", text).encode()
    if len(content) > MOST_DIFF_BYTES:
        content = content[:MOST_DIFF_BYTES] + f"\n… cut here, of {len(content):,} bytes\n".encode()
    (folder / DIFF_FILE).write_bytes(content)


def command_line(argv: Sequence[str]) -> str:
    """What a person typed, without the places of this machine.

    Example:
        command_line(["/home/ann/p/reasoning_pipeline/__main__.py", "run", "/home/ann/r.yaml"])
        "python -m reasoning_pipeline run …/r.yaml"
    """
    program = Path(argv[0]).parent.name if argv and Path(argv[0]).name == "__main__.py" else Path(argv[0]).name
    words = [without_places(word) for word in argv[1:]]
    quoted = [word if re.fullmatch(r"[\w@%+=:,./…~-]+", word) else shlex.quote(word) for word in words]
    return " ".join(["python -m", program, *quoted])


def without_places(value: Any) -> Any:
    """The same plain JSON, without absolute paths (their last part stays) and without secrets."""
    if isinstance(value, dict):
        return {key: without_places(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(item) for item in value]
    return _text_without_places(value) if isinstance(value, str) else value


def _text_without_places(text: str) -> str:
    text = _SECRET.sub("…", text)
    key, equals, path = text.rpartition("=")  # --set data.mine.path=/home/ann/x.jsonl
    if _is_place(path):
        return f"{key}{equals}…/{Path(path).name}"
    home = str(Path.home())
    return text.replace(home + os.sep, "~/") if len(home) > 1 else text


def _is_place(text: str) -> bool:
    """`/think` alone is a word to a model, and no path."""
    if "\n" in text or not text.startswith(("/", "~")):
        return False
    return text.startswith("~/") or len(Path(text).parts) > 2 or Path(text).exists()


def cpu_model() -> str:
    """As the system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gpu_names() -> list[str]:
    """Names of the GPUs this process uses; empty on CPUs. Looks only where torch is loaded already."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def peak_gpu_memory_mib() -> int | None:
    """The most that torch held on one of this process's GPUs; None where it used none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return max(torch.cuda.max_memory_allocated(index) for index in range(torch.cuda.device_count())) >> 20


def _git(*arguments: str) -> str:
    folder = Path(__file__).resolve().parent
    command = ["git", "-c", "core.quotepath=off", *arguments]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, encoding="utf-8", errors="replace", timeout=20, check=True
    )
    return done.stdout
