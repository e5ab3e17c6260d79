"""ROOT/servers/PID.json: which servers run, for `status`. Written when one starts, removed when it stops; no key in it.

A server whose owner was killed cannot remove its file: whoever reads the folder removes what no process stands behind.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from reasoning_pipeline.base.ownership import alive, started

FOLDER = "servers"


@dataclass(frozen=True, kw_only=True)
class ServerFile:
    """One running server.

    Example:
        ServerFile(host="node3", pid=4711, started=86400.17, url="http://127.0.0.1:40123",
                   model="sparse_grpo-3f2a9c1b7d04e6f8", owner=4700, log="runs/arithmetic/logs/server-1.log")
    """

    host: str
    """On another machine than this one nobody can say whether it runs still."""
    pid: int
    started: float
    """Of the process, in seconds since boot (base/ownership.py); tells it from a later one with the same id."""
    url: str
    model: str
    """What it was started with; which policy it holds now it says itself."""
    owner: int
    """Process id of whoever started it and will stop it."""
    log: str


def write(folder: Path, pid: int, *, url: str, model: str, log: Path) -> None:
    """Say that a server of this process runs."""
    folder.mkdir(parents=True, exist_ok=True)
    entry = ServerFile(
        host=socket.gethostname(),
        pid=pid,
        started=started(pid),
        url=url,
        model=model,
        owner=os.getpid(),
        log=str(log),
    )
    aside = folder / f"{pid}.aside"
    aside.write_text(json.dumps(asdict(entry), indent=2), encoding="utf-8")
    aside.replace(folder / f"{pid}.json")


def remove(folder: Path, pid: int) -> None:
    (folder / f"{pid}.json").unlink(missing_ok=True)


def read(folder: Path) -> tuple[list[ServerFile], list[ServerFile]]:
    """(running, gone): the files of the gone are removed, and so are files that say nothing."""
    running, gone = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            entry = ServerFile(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, OSError):
            path.unlink(missing_ok=True)
            continue
        if entry.host != socket.gethostname() or alive(entry.pid, entry.started):
            running.append(entry)
        else:
            gone.append(entry)
            path.unlink(missing_ok=True)
    return running, gone
