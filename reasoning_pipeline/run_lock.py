"""One runner at a time for each run folder. A lock left by a killed runner is recognised and taken over."""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.ownership import alive

LOCK = "running.json"


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. Raises PipelineError where another runner holds it.

    The lock is a file holding host, process and start time. It is written aside and linked into place (atomic on NFS
    too), so that nobody ever reads half of one.
    """
    path = folder / LOCK
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}
    for _ in range(2):
        try:
            _create(path, json.dumps(mine))
            break
        except FileExistsError:
            holder = _read(path)
            if holder is None or (holder["host"] == mine["host"] and not alive(holder["pid"], holder["started"])):
                path.unlink(missing_ok=True)
                continue
            raise PipelineError(
                f"{folder}: another run of this recipe is at work (process {holder['pid']} on {holder['host']})",
                remedy=f"wait for it or stop it; if that machine is gone, remove {path}",
            ) from None
    else:
        raise PipelineError(f"{path}: could not be taken", remedy="another run started at this moment; try again")
    try:
        yield
    finally:
        if _read(path) == mine:
            path.unlink(missing_ok=True)


def _create(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        aside.write_text(text, encoding="utf-8")
        os.link(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any] | None:
    """Who holds the lock; None where it is gone or damaged."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        sound = isinstance(holder["host"], str) and int(holder["pid"]) > 0 and float(holder["started"]) > 0
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return holder if sound else None
