"""Resume points: what a killed step continues from, and when one counts.

A point is a folder `checkpoint-STEP` that the trainer fills (weights, optimizer, scheduler, data position, random
state of each process); beside it stands what the trainer does not know of (`own-RANK.json`: tokens generated, verdict
counts, what was measured on the way). Once every file is on the disk the marker `complete` follows, and only then are
older points removed: whenever the machine dies, the newest marked point is whole.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.files import sync

COMPLETE = "complete"
"""Marker inside a resume point, written after everything else."""


def last_complete(checkpoints: Path) -> Path | None:
    """The newest resume point that was written to its end; half-written ones are removed."""
    found: list[tuple[int, Path]] = []
    for folder in checkpoints.glob("checkpoint-*"):
        if (folder / COMPLETE).is_file():
            found.append((step_of(folder), folder))
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return max(found)[1] if found else None


def complete(point: Path) -> None:
    """Sync the point, mark it, and remove the older ones. Raises OSError where the disk refuses; then nothing is
    removed."""
    for path in sorted(point.rglob("*")):
        sync(path)
    sync(point)
    marker = point / COMPLETE
    marker.touch()
    sync(marker)
    sync(point)
    for older in point.parent.glob("checkpoint-*"):
        if step_of(older) < step_of(point):
            (older / COMPLETE).unlink(missing_ok=True)  # first: half a folder must not look whole
            shutil.rmtree(older, ignore_errors=True)


def save_own_state(point: Path, rank: int, state: dict[str, Any]) -> None:
    (point / f"own-{rank}.json").write_text(json.dumps(state), encoding="utf-8")


def own_state(point: Path | None, rank: int) -> dict[str, Any]:
    """What this process saved; empty where there is no point, or none of a process with this number."""
    path = None if point is None else point / f"own-{rank}.json"
    if path is None or not path.is_file():
        return {}
    state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return state


def step_of(point: Path) -> int:
    """Optimizer steps taken at a point: `checkpoint-40` -> 40."""
    return int(point.name.rpartition("-")[2])
