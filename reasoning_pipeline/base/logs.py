"""Logs by attempt: a rerun must not erase the log of the failure that it follows."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

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
