"""Checks of what starts trainers: accelerate's configuration, DeepSpeed's build, Slurm."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from reasoning_pipeline.base.yaml_files import read_yaml
from reasoning_pipeline.beside import LAUNCH
from reasoning_pipeline.doctor.machine import PROGRAM_TIMEOUT_S
from reasoning_pipeline.doctor.subject import Finding, Subject
from reasoning_pipeline.estimates.layout import sharding
from reasoning_pipeline.hardware.launcher import accelerate_file

BUILD_SECONDS = 600
"""A build takes about one minute; a lock older than this belongs to nobody."""


def launcher(subject: Subject) -> Iterator[Finding]:
    """The accelerate configuration against the profile: accelerate falls back in silence."""
    profile = subject.profile
    if profile.accelerate_config is None:
        yield Finding(level="ok", check="launcher", message="one trainer process, none needed")
        return
    kind = read_yaml(accelerate_file(profile)).get("distributed_type")
    if kind == "FSDP" and profile.device == "cpu":
        yield Finding(
            level="error",
            check="launcher",
            message=f"{profile.accelerate_config} asks for FSDP, which accelerate switches on for GPUs only",
            remedy="on CPUs take zero2.yaml, zero3.yaml or ddp.yaml",
        )
        return
    if kind == "DEEPSPEED":
        try:
            metadata.version("deepspeed")
        except metadata.PackageNotFoundError:
            yield Finding(
                level="error",
                check="launcher",
                message=f"{profile.accelerate_config} asks for DeepSpeed, which is not installed",
                remedy="make setup, or take fsdp2.yaml",
            )
            return
        yield from _locks_left_behind()
    message = f"{profile.accelerate_config}: {sharding(profile)} over {profile.processes} processes"
    yield Finding(level="ok", check="launcher", message=message)


def _locks_left_behind() -> Iterator[Finding]:
    """DeepSpeed compiles an operation at its first start, under a lock that a killed process leaves; seen: every later
    start then waits for it without a word."""
    folder = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or Path.home() / ".cache" / "torch_extensions")
    for lock in folder.glob("**/lock"):
        age = time.time() - lock.stat().st_mtime
        if age > BUILD_SECONDS:
            yield Finding(
                level="warning",
                check="launcher",
                message=f"{lock.relative_to(folder)} of torch's extensions is {age / 60:.0f} min old; builds wait",
                remedy=f"remove it if nothing is being built: rm {lock}",
            )


def slurm(subject: Subject) -> Iterator[Finding]:
    """Whether Slurm answers and knows the partition, where the profile has a slurm block."""
    wanted = subject.profile.slurm
    if wanted is None:
        return
    if unsaid := wanted.unsaid():
        message = f"the profile leaves {', '.join(unsaid)} to be said; only `{LAUNCH} slurm` needs it"
        yield Finding(level="ok", check="slurm", message=message)
        return
    try:
        query = ["sinfo", "--noheader", "--format=%R"]
        done = subprocess.run(query, capture_output=True, text=True, timeout=PROGRAM_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or getattr(error, "strerror", None) or str(error)
        yield Finding(
            level="error",
            check="slurm",
            message=f"sinfo does not answer: {' '.join(str(said).split())}",
            remedy="run this on a login node, or take a profile without `slurm:`",
        )
        return
    partitions = sorted(set(done.stdout.split()))
    if wanted.partition is not None and wanted.partition not in partitions:
        yield Finding(
            level="error",
            check="slurm",
            message=f"no partition is called {wanted.partition!r} (there are: {', '.join(partitions) or 'none'})",
            remedy=f"set slurm.partition, or give --partition to `{LAUNCH} slurm`",
        )
        return
    yield Finding(level="ok", check="slurm", message=f"answers; partitions: {', '.join(partitions)}")


CHECKS = (launcher, slurm)
