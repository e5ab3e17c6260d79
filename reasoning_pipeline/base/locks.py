"""One at a time: a runner for each run folder, a step for each registry, an evaluation for each folder of samples.
What a dead holder left is taken over.

    ROOT/RECIPE/running.json                 held by the runner of a recipe; a second one is refused
    ROOT/work/STAGE-FINGERPRINT.lock         held while a step is made; another recipe that shares the step waits
    OUT/.lock                                held by whoever writes samples there; a second one is refused

A lock is a file that says who holds it. It is written aside and linked into place, which is atomic on NFS too, and
nobody ever reads half of one; flock and its kin are not used, for on network file systems they may hold nobody back.

On the holder's own machine its process is asked for. From another machine the lock's age decides: the holder touches
it every `BEAT_SECONDS`, and after `SILENT_SECONDS` of silence it is taken for dead, by the file server's clock alone.
A holder that was only asleep finds its lock gone when it next touches it, and leaves.

Why not filelock's SoftFileLease, which does nearly the same: release 4.2 takes a dead holder's file over by exchanging
two names in one call, which network file systems refuse, and there the file of a killed run would stay for ever (tried
with the exchange refused: not taken). It never takes an empty file over either, and a silent holder elsewhere only
after watching it for a whole lease. What would remain of ours beside it is most of this file.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.ownership import alive, started
from reasoning_pipeline.errors import PipelineError

LOCK = "running.json"
BEAT_SECONDS = 20.0
SILENT_SECONDS = 300.0
"""Longer than a network file system's caches (60 s on NFS) and a busy machine's pauses."""
POLL_SECONDS = 1.0
ATTEMPTS = 20

Waiting = Callable[[str], AbstractContextManager[object]]


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold a run folder. Raises PipelineError where another runner holds it."""
    with held(folder / LOCK, f"{folder}: another run of this recipe is at work"):
        yield


@contextmanager
def step_lock(work: Path, waiting: Waiting = lambda text: nullcontext()) -> Iterator[None]:
    """Hold the work folder of a step. Where another run is making the step, waits until it has ended, however it ends.

    Args:
        work: The step's folder in ROOT/work; it may come and go while it is held.
        waiting: Shows the sentence it is given for as long as it takes.
    """
    path = work.with_name(f"{work.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(held(path, f"{work.name}: being made by another run"))
                break
            except Busy as busy:  # perhaps for the second time: another one that waited was faster
                with waiting(f"{busy.message}; waiting for it"):
                    while _holder_if_busy(path) is not None:
                        time.sleep(POLL_SECONDS)
        yield


def held_elsewhere(path: Path) -> str | None:
    """Who holds this lock file, for a sentence; None where nobody alive does."""
    holder = _holder_if_busy(path)
    return _name(holder) if holder is not None else None


class Busy(PipelineError):
    """Somebody alive holds the lock."""


@dataclass(frozen=True)
class _Found:
    """A lock file as it was read."""

    text: str
    holder: dict[str, Any] | None
    """None where the file is damaged."""
    modified: float
    """By the file server's clock."""


@contextmanager
def held(path: Path, busy: str) -> Iterator[None]:
    """Hold a lock file. Raises Busy, which begins with `busy` and names the holder, where somebody alive holds it."""
    mine = _myself()
    _take(path, mine, busy)
    released = threading.Event()
    beat = threading.Thread(target=_keep_beating, args=(path, mine, released), name=f"hold {path.name}", daemon=True)
    beat.start()
    try:
        yield
    finally:
        released.set()
        if _is(path, mine):
            path.unlink(missing_ok=True)


def _myself() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": started(os.getpid()),
        "processes": _process_space(),
        "token": uuid.uuid4().hex,
    }


def _process_space() -> str:
    """Containers may share a host name and count their processes apart."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _take(path: Path, mine: dict[str, Any], busy: str) -> None:
    for _ in range(ATTEMPTS):
        now = _create(path, mine)
        if now is None:
            return
        found = _read(path)
        if found is None:  # released at this moment
            continue
        if found.holder is not None and _lives(found.holder, age=now - found.modified):
            raise Busy(
                f"{busy} ({_name(found.holder)})",
                remedy=f"wait for it or stop it; if that machine is gone, remove {path}",
            )
        if _take_over(path, found, mine):
            return
        time.sleep(0.05)
    raise PipelineError(f"{path}: could not be taken", remedy="another run started at this moment; try again")


def _take_over(path: Path, found: _Found, mine: dict[str, Any]) -> bool:
    """Replace the lock of a dead holder. Of many that try, one does: who holds the right to, which is a lock too."""
    right = path.with_name(f".{path.name}.right")
    try:
        _take(right, mine, str(right))
    except Busy:
        return False
    try:
        current = _read(path)
        if current is None or current.text != found.text:  # somebody had the right before us, and used it
            return False
        aside = _write_aside(path, mine)
        aside.replace(path)
        return True
    finally:
        right.unlink(missing_ok=True)


def _create(path: Path, mine: dict[str, Any]) -> float | None:
    """None when the lock is ours; where there is one already, the file server's time."""
    aside = _write_aside(path, mine)
    try:
        os.link(aside, path)
    except FileExistsError:
        # NFS may carry out a request, lose the answer, and refuse the repetition: the count of links knows.
        status = aside.stat()
        return None if status.st_nlink == 2 else status.st_mtime
    finally:
        aside.unlink(missing_ok=True)
    return None


def _write_aside(path: Path, mine: dict[str, Any]) -> Path:
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    aside.write_text(json.dumps(mine), encoding="utf-8")
    return aside


def _read(path: Path) -> _Found | None:
    """None where there is no lock."""
    try:
        with path.open("rb") as file:  # opening makes a network file system ask its server
            text = file.read(4096).decode("utf-8", errors="replace")
            modified = os.fstat(file.fileno()).st_mtime
    except OSError:
        return None
    try:
        holder = json.loads(text)
        sound = isinstance(holder["host"], str) and int(holder["pid"]) > 0 and float(holder["started"]) > 0
    except (ValueError, TypeError, KeyError):
        sound = False
    return _Found(text, holder if sound else None, modified)


def _lives(holder: dict[str, Any], age: float) -> bool:
    if holder["host"] == socket.gethostname() and holder.get("processes", _process_space()) == _process_space():
        return alive(holder["pid"], holder["started"])
    return age < SILENT_SECONDS


def _holder_if_busy(path: Path) -> dict[str, Any] | None:
    found = _read(path)
    if found is None or found.holder is None or not _lives(found.holder, age=_now(path) - found.modified):
        return None
    return found.holder


def _now(path: Path) -> float:
    """The file server's time; ours where its folder cannot be written."""
    probe = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        probe.unlink(missing_ok=True)


def _is(path: Path, mine: dict[str, Any]) -> bool:
    found = _read(path)
    return found is not None and found.holder == mine


def _name(holder: dict[str, Any]) -> str:
    return f"process {holder['pid']} on {holder['host']}"


def _keep_beating(path: Path, mine: dict[str, Any], released: threading.Event) -> None:
    while not released.wait(BEAT_SECONDS):
        if not _beat(path, mine) and not released.is_set():
            print(f"error: {path} is no longer ours; another run took it over. Stopping.", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGTERM)
            return


def _beat(path: Path, mine: dict[str, Any]) -> bool:
    """Say that we are alive; False where the lock is not ours any more."""
    if not _is(path, mine):
        return False
    try:
        os.utime(path)
    except OSError:  # a full or absent file server is not yet a reason to stop
        return path.exists()
    return True
