"""Processes that leave when whoever started them is gone, however it went; and how they are ended, with all of theirs.

Signals cannot be relied on: an owner killed by SIGKILL sends none. Each child watches its owner's process id and start
time (ids are reused) from a thread. The time is counted from boot: were it the wall clock's, a clock that is set would
make every owner seem to be another process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

OWNER_VARIABLE = "REASONING_PIPELINE_OWNER"
"""Environment variable `pid:started:host` of the owner."""

CHECK_SECONDS = 2.0

_watching_in: int | None = None


def owner_environment() -> dict[str, str]:
    """What to add to a child's environment so that it leaves with this process."""
    return {OWNER_VARIABLE: f"{os.getpid()}:{started(os.getpid())}:{socket.gethostname()}"}


def leave_with_owner(grace_s: Callable[[], float] = lambda: 0.0, last: Callable[[], object] | None = None) -> None:
    """Start, once per process, the watch. When the owner is gone: SIGTERM to this process, after `grace_s()` whatever
    `last` does, and an immediate exit."""
    global _watching_in  # noqa: PLW0603 - once per process; a forked child starts its own
    owner = os.environ.get(OWNER_VARIABLE)
    if not owner or _watching_in == os.getpid():
        return
    pid, created, host = owner.split(":")
    if host != socket.gethostname():  # on another node srun, which the owner started, ends what it began there
        return
    _watching_in = os.getpid()
    threading.Thread(
        target=_watch, args=(int(pid), float(created), grace_s, last), name="leave-with-owner", daemon=True
    ).start()


def started(pid: int) -> float:
    """When this process started, in seconds since boot; since 1970 where there is no /proc. Raises NoSuchProcess."""
    if not Path("/proc/self/stat").exists():
        return psutil.Process(pid).create_time()
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        raise psutil.NoSuchProcess(pid) from None
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")  # the 22nd of proc(5), two stand before the name's end


def alive(pid: int, created: float) -> bool:
    """Whether the process with this id is still the one that started then."""
    try:
        process = psutil.Process(pid)
        of_1970 = created > 1e9  # as locks and registers of earlier versions have it; no machine is up for 30 years
        now = process.create_time() if of_1970 else started(pid)
        return abs(now - created) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill_with_children(pid: int) -> None:
    """SIGKILL for a process and all its descendants. Its group is not enough: torchrun gives each of its workers a
    session of its own, and they would go on."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        _kill([process, *process.children(recursive=True)])


def stop_with_children(pid: int, grace_s: float = 10.0) -> None:
    """End a process and all its descendants: SIGTERM first, SIGKILL for what is left after `grace_s`."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
            process.resume()  # a stopped one would not notice
    _, left = psutil.wait_procs(family, timeout=grace_s)
    _kill(left)
    psutil.wait_procs(left, timeout=grace_s)


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _watch(pid: int, created: float, grace_s: Callable[[], float], last: Callable[[], object] | None) -> None:
    while alive(pid, created):
        time.sleep(CHECK_SECONDS)
    if (seconds := grace_s()) > 0:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(seconds)
    # Children of this process may be too young to watch: vLLM's engine waits five minutes for a server that is gone.
    _kill(psutil.Process().children(recursive=True))
    if last is not None:
        last()
    os._exit(1)
