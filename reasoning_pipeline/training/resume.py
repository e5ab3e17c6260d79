"""Resume points: what a killed step continues from, and when one counts.

A point is a folder `checkpoint-STEP` that the trainer fills (weights, optimizer, scheduler, data position, random
state of each process); beside it stands what the trainer does not know of (`own-RANK.json`: tokens generated, verdict
counts, what was measured on the way) and how the training was divided (`layout.json`). Once every file is on the disk
the marker `complete` follows, and only then are older points removed: whenever the machine dies, the newest marked
point is whole.
"""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.files import sync
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.training.layouts import Layout, Written, obstacle, written

COMPLETE = "complete"
"""Marker inside a resume point, written after everything else."""
CONVERTED = "converted"
"""Beside the points: one in the files of another layout (converting.py)."""


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
    shutil.rmtree(point.parent / CONVERTED, ignore_errors=True)


def readable(point: Path, now: Layout, label: str) -> Written:
    """What the point says of itself; PipelineError where a trainer of this layout cannot go on exactly from it."""
    before = written(point)
    if (why := obstacle(before.layout, now)) is None:
        return before
    steps = step_of(point)
    raise PipelineError(
        f"{label}: its resume point after optimizer step {steps} was written under {before.layout.text}; this run is "
        f"{now.text}: {why}",
        remedy=f"run with {before.layout.whose} again, or give up its {steps} optimizer steps and begin this step "
        f"anew: rm -r {shlex.quote(str(point.parent))}",
    )


def save_own_state(point: Path, rank: int, state: dict[str, Any]) -> None:
    (point / f"own-{rank}.json").write_text(json.dumps(state), encoding="utf-8")


def own_state(point: Path | None, rank: int, processes: int) -> dict[str, Any]:
    """What this process saved; empty where there is no point, or none of a process with this number. What processes
    generated that are no more counts for the first."""
    path = None if point is None else point / f"own-{rank}.json"
    if point is None or path is None or not path.is_file():
        return {}
    state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if rank == 0 and "tokens_generated" in state:
        gone = [path for path in point.glob("own-*.json") if int(path.stem.rpartition("-")[2]) >= processes]
        state["tokens_generated"] += sum(json.loads(path.read_text())["tokens_generated"] for path in gone)
    return state


def step_of(point: Path) -> int:
    """Optimizer steps taken at a point: `checkpoint-40` -> 40."""
    return int(point.name.rpartition("-")[2])
