"""What a step tells while it works: metrics.jsonl (kept with the checkpoint) and progress.json (read by the runner)."""

from __future__ import annotations

import json
import math
import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.jsonl import lines, read_rows


class Metrics:
    """Appends one JSON object per optimizer step and keeps the progress file fresh.

    A resumed step continues the file: rows beyond the resume point are dropped first, so that no step stands twice.
    """

    def __init__(self, folder: Path, *, total_steps: int | None = None, resumed_at: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.progress_path = folder / "metrics.jsonl", folder / "progress.json"
        self.total_steps = total_steps
        self._started, self._resumed_at = time.monotonic(), resumed_at
        rows = [row for row in read_metrics(self.path) if row["step"] <= resumed_at]
        self._seconds_before = rows[-1]["seconds"] if rows else 0.0
        aside = self.path.with_suffix(".aside")
        aside.write_text(lines(rows), encoding="utf-8")
        aside.replace(self.path)
        self._file = self.path.open("a", encoding="utf-8")

    @property
    def seconds(self) -> float:
        """Wall time of this step, summed over interruptions."""
        return self._seconds_before + time.monotonic() - self._started

    def write(self, step: int, **values: float | None) -> None:
        """One row. NaN and None are left out: absence is not zero."""
        kept = {
            name: round(value, 8)
            for name, value in values.items()
            if value is not None and not (isinstance(value, float) and not math.isfinite(value))
        }
        row = {"step": step, "seconds": round(self.seconds, 3), **kept}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        done = step - self._resumed_at
        remaining = None
        if self.total_steps and done > 0:
            remaining = (time.monotonic() - self._started) / done * (self.total_steps - step)
        self.report({**row, "total_steps": self.total_steps, "seconds_left": remaining})

    def report(self, values: dict[str, Any]) -> None:
        """Replace progress.json; cheap, not synced: losing it costs nothing."""
        aside = self.progress_path.with_suffix(f".{os.getpid()}")
        aside.write_text(json.dumps(values), encoding="utf-8")
        aside.replace(self.progress_path)

    def sync(self) -> None:
        """Rows up to here are on the disk, as the resume point that counts on them will be."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Rows of a metrics file; a torn last line (a killed writer) is dropped."""
    return read_rows(path, torn=True) if path.is_file() else []


def longest_optimizer_step(work: Path) -> float | None:
    """Seconds, of the last fifty in a step's own metrics; None before one is written."""
    rows = read_metrics(work / "metrics.jsonl")[-51:]
    if rows and rows[0].get("step") == 1:
        rows = [{"seconds": 0.0}, *rows]
    return max((after["seconds"] - before["seconds"] for before, after in pairwise(rows)), default=None)
