"""One runner at a time for each run folder. A lock left by a killed runner is recognised and taken over."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.ownership import alive

LOCK = "running.json"


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. Raises PipelineError where another runner holds it.

    The lock is a file created exclusively (atomic on NFS too), holding host, process and start time.
    """
    path = folder / LOCK
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}
    for _ in range(2):
        try:
            with path.open("x", encoding="utf-8") as file:
                json.dump(mine, file)
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
        path.unlink(missing_ok=True)


def _read(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
