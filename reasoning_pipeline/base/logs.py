"""Logs by attempt, since a rerun must not erase the log of the failure that it follows; and the end of one, to show."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

from reasoning_pipeline.base.text import indented

OLDER_LOGS = 5
"""Kept beside the newest."""


def new_attempt(log: Path) -> Path:
    """Make way for another one: STEP.log becomes STEP.1.log, and that STEP.2.log; the oldest goes. Returns `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    names = [log, *(log.with_name(f"{log.stem}.{number}{log.suffix}") for number in range(1, OLDER_LOGS + 1))]
    for newer, older in reversed(list(pairwise(names))):
        if newer.is_file():
            newer.replace(older)
    return log


def tail(path: Path, lines: int) -> str:
    """The last lines of a log, each bounded; a note where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 64_000))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return "    (no log)"
    return indented(text, lines)
