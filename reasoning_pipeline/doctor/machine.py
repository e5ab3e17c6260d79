"""Checks of the machine: packages, devices, memory, disk, shared memory, ports."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psutil

from reasoning_pipeline.base.text import amount
from reasoning_pipeline.doctor.subject import Finding, Subject
from reasoning_pipeline.estimates.layout import GIB
from reasoning_pipeline.estimates.shapes import shape_of_input
from reasoning_pipeline.estimates.steps import estimate_plan, what_cannot_fit

PROGRAM_TIMEOUT_S = 10
SHARED_MEMORY = Path("/dev/shm")
IN_USE_MIB = 2048
"""More than this on a GPU before anything of ours started is somebody else's."""


def packages(subject: Subject) -> Iterator[Finding]:
    """Installed versions against the pins that this version was tested with."""
    from packaging.requirements import Requirement

    needed = {"train": True, "serve": subject.profile.engine == "vllm"}
    wrong = missing = 0
    for text in metadata.requires("reasoning-pipeline") or []:
        requirement = Requirement(text)
        extra = next(
            (name for name in needed if requirement.marker and requirement.marker.evaluate({"extra": name})), None
        )
        if requirement.marker is not None and (extra is None or not needed[extra]):
            continue
        try:
            found = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            missing += 1
            yield Finding(
                level="error",
                check="packages",
                message=f"{requirement.name} is not installed ({requirement.specifier or 'any version'} is needed)",
                remedy="make setup",
            )
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            wrong += 1
            yield Finding(
                level="warning",
                check="packages",
                message=f"{requirement.name} is {found}; tested with {requirement.specifier}",
                remedy="make setup, or expect what depends on that library's insides to have moved",
            )
    if not wrong and not missing:
        python = ".".join(map(str, sys.version_info[:3]))
        yield Finding(level="ok", check="packages", message=f"Python {python} and every package as pinned")


def gpus(subject: Subject) -> Iterator[Finding]:
    """Number and memory of the GPUs against the profile."""
    profile = subject.profile
    if profile.device == "cpu":
        yield Finding(level="ok", check="gpus", message=f"none needed; {os.cpu_count()} CPU cores")
        return
    try:
        rows = _gpu_rows()
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        # A login node has none; but a profile that still leaves its partition open is not being submitted from one.
        elsewhere = not subject.runs_here and profile.slurm is not None and not profile.slurm.unsaid()
        yield Finding(
            level="warning" if elsewhere else "error",
            check="gpus",
            message=f"nvidia-smi does not answer here ({why}), so the GPUs were not looked at",
            remedy="run doctor on a node of the cluster"
            if elsewhere
            else "choose a profile of this machine (--hardware)",
        )
        return
    wanted = _gpus_wanted(subject)
    if len(rows) < wanted:
        yield Finding(
            level="error",
            check="gpus",
            message=f"the profile uses {wanted} GPUs of one node, {len(rows)} are here",
            remedy="choose another profile, or lower processes, trainer_devices and server.devices",
        )
    for number, (name, total_mib, used_mib) in enumerate(rows[:wanted]):
        stated = profile.device_memory_gib
        if stated is not None and total_mib / 1024 < 0.99 * stated:
            yield Finding(
                level="error",
                check="gpus",
                message=f"GPU {number} ({name}) has {total_mib / 1024:.1f} GiB, the profile says {stated}",
                remedy="correct device_memory_gib, so that the plan reckons with what is there",
            )
        if used_mib > IN_USE_MIB:
            yield Finding(
                level="warning",
                check="gpus",
                message=f"{used_mib / 1024:.1f} GiB of GPU {number} are in use already",
                remedy="end the other program, or choose other devices",
            )
    if len(rows) >= wanted:
        yield Finding(level="ok", check="gpus", message=f"{len(rows)} x {rows[0][0]}, {rows[0][1] / 1024:.1f} GiB")


def _gpu_rows() -> list[tuple[str, int, int]]:
    """(name, memory in MiB, of it in use) of each."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,memory.used", "--format=csv,noheader,nounits"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=PROGRAM_TIMEOUT_S, check=True)
    rows = [line.rsplit(",", 2) for line in done.stdout.splitlines() if line.strip()]
    return [(name.strip(), int(total), int(used)) for name, total, used in rows]


def _gpus_wanted(subject: Subject) -> int:
    profile = subject.profile
    named = [profile.trainer_devices or ""] + [profile.server.devices_of(n) or "" for n in range(profile.server.count)]
    numbers = [int(device) for devices in named for device in devices.split(",") if device.strip().isdigit()]
    nodes = profile.slurm.training_nodes if profile.slurm is not None else 1
    return max([number + 1 for number in numbers] + [profile.processes // nodes, profile.server.tensor_parallel])


def memory(subject: Subject) -> Iterator[Finding]:
    """What the plan's estimate says cannot fit; on CPUs the machine's own memory."""
    estimates = estimate_plan(subject.plan, subject.profile)
    todo = [e for step, e in zip(subject.plan.steps, estimates, strict=True) if not step.complete]
    problems = what_cannot_fit(todo)
    for problem in problems:
        yield Finding(level="error", check="memory", message=problem, remedy="change the profile as it says")
    if problems:
        return
    most = max((estimate.trainer_bytes for estimate in todo), default=0)
    if subject.profile.device == "cpu":
        needed, free = most * subject.profile.processes, psutil.virtual_memory().available
        if needed > free:
            yield Finding(
                level="warning",
                check="memory",
                message=f"trainers take about {needed / GIB:.1f} GiB at their fullest, {free / GIB:.1f} are free",
                remedy="set micro_batch or gradient_checkpointing in the profile, or end other programs",
            )
            return
    yield Finding(
        level="ok", check="memory", message=f"a trainer process takes about {most / GIB:.1f} GiB at its fullest"
    )


def disk(subject: Subject) -> Iterator[Finding]:
    """Space under the root against what the plan will write."""
    estimates = estimate_plan(subject.plan, subject.profile)
    todo = [e for step, e in zip(subject.plan.steps, estimates, strict=True) if not step.complete]
    needed = sum(estimate.disk for estimate in todo) + max((e.disk_while_running for e in todo), default=0)
    free = shutil.disk_usage(_existing(subject.root)).free
    written = amount(needed, "B") if needed else "nothing"
    message = f"{written} will be written, {amount(free, 'B')} are free in {subject.root}"
    if needed > free:
        remedy = "give another --root, free space, or plan fewer arms (--arm)"
        yield Finding(level="error", check="disk", message=message, remedy=remedy)
    elif needed > 0.8 * free:
        yield Finding(
            level="warning", check="disk", message=message, remedy="rollouts longer than assumed would fill it"
        )
    else:
        yield Finding(level="ok", check="disk", message=message)


def registry(subject: Subject) -> Iterator[Finding]:
    """Whether the root can be written to."""
    folder = _existing(subject.root)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield Finding(
            level="error",
            check="registry",
            message=f"{folder} cannot be written to ({error.strerror})",
            remedy="make it writable, or give another --root",
        )
        return
    yield Finding(level="ok", check="registry", message=f"{folder} can be written to")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.resolve()
    while not folder.is_dir():
        folder = folder.parent
    return folder


def shared_memory(subject: Subject) -> Iterator[Finding]:
    """Room for one push of weights where they travel through files."""
    server = subject.profile.server
    if subject.profile.engine != "vllm" or server.transport != "safetensors":
        yield Finding(level="ok", check="shared memory", message="weights do not travel through files here")
        return
    folder = server.transfer_folder or SHARED_MEMORY
    size = 2 if subject.profile.precision == "bfloat16" else 4
    shapes = [
        shape_of_input(subject.plan, step, step.config.generator)
        for step in subject.plan.steps
        if step.config.generator is not None
    ]
    needed = max((shape.parameters * size for shape in shapes if shape is not None), default=0)
    if not folder.is_dir():
        yield Finding(
            level="error",
            check="shared memory",
            message=f"{folder} is no folder; weights are pushed through it",
            remedy="set server.transfer_folder to one that trainer and server both see",
        )
        return
    free = shutil.disk_usage(folder).free
    message = f"one push of weights is {needed / GIB:.1f} GiB, {free / GIB:.1f} are free in {folder}"
    if needed > free:
        remedy = "mount it larger (containers: --shm-size), set server.transfer_folder, or another server.transport"
        yield Finding(level="error", check="shared memory", message=message, remedy=remedy)
    else:
        yield Finding(level="ok", check="shared memory", message=message)


def ports(subject: Subject) -> Iterator[Finding]:
    """Whether a server could listen on loopback, and a fixed rendezvous port is free."""
    slurm = subject.profile.slurm
    for port in (0, *([slurm.rendezvous_port] if slurm is not None and slurm.rendezvous_port else [])):
        try:
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", port))
        except OSError as error:
            yield Finding(
                level="error" if port == 0 else "warning",
                check="ports",
                message=f"port {port or '(any)'} of 127.0.0.1 cannot be listened on ({error.strerror})",
                remedy="allow programs to listen on loopback" if port == 0 else "leave slurm.rendezvous_port out",
            )
            return
    yield Finding(level="ok", check="ports", message="servers can listen on loopback")


def secrets(subject: Subject) -> Iterator[Finding]:
    """Variables that the profile's `setup.secrets` names."""
    for name in subject.profile.setup.secrets:
        if not os.environ.get(name):
            yield Finding(
                level="error",
                check="secrets",
                message=f"{name} is not set; the profile's setup.secrets names it",
                remedy=f"export {name}=… in the shell that starts the run",
            )


CHECKS = (packages, gpus, memory, disk, registry, shared_memory, ports, secrets)
