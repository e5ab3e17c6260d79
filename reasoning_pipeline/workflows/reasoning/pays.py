"""The map of when the workflow pays, read from its CSV: what decides, and where another case lies on it.

Two regressions over the same cells: one with what can be measured before any training, which `advise` measures of a
recipe, and one with what is known only afterwards (the teacher's gain, the distance before and after the warmup).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log, log2
from pathlib import Path

from reasoning_pipeline.errors import DataError
from reasoning_pipeline.statistics.regression import Fitted, Placed, fit, place

WORKFLOW, DIRECT = "workflow", "direct"
BEFORE: Mapping[str, str] = {
    "start": "student's accuracy at the start",
    "mixed": "share of its groups that hold right and wrong answers",
    "log_labels": "labels, doublings",
    "teacher_ahead": "raw teacher's accuracy over the student's",
    "log_teacher_size": "teacher's size over the student's, doublings",
    "log_kl_start": "KL(student‖raw teacher), e-folds",
}
"""Predictors that a probe measures before any label is spent, in words."""
AFTER: Mapping[str, str] = {
    "start": BEFORE["start"],
    "mixed": BEFORE["mixed"],
    "log_labels": BEFORE["log_labels"],
    "c1_gain": "what reward gained the teacher (C1)",
    "log_kl_before": "KL(student‖teacher) before the bridge (C2), e-folds",
    "log_kl_after": "the same after the warmup (C2), e-folds",
}
"""Those of the paper's theory; C1 and C2 are known once the teacher is trained and the warmup is done."""
LEAST_KL = 1e-4
"""Nats a token; below it the logarithm would speak of the last digits."""


@dataclass(frozen=True, kw_only=True)
class MapCell:
    """One cell of the map. Shares of 1.

    Example:
        MapCell(name="near_l256_t2_s25", levels={"difficulty": "near", "labels": "256", …}, gain=0.06, low=0.01,
                high=0.11, workflow=0.61, direct=0.55, figures={"start": 0.14, …})
    """

    name: str
    levels: dict[str, str]
    gain: float
    """Test accuracy of the workflow over that of direct GRPO."""
    low: float
    high: float
    """Ends of the 95 % interval over problems and seeds; infinite where it is unknown."""
    workflow: float
    direct: float
    figures: dict[str, float]
    """The predictors of `BEFORE` and `AFTER`."""

    @property
    def is_noise(self) -> bool:
        """Whether the interval holds 0."""
        return self.low <= 0 <= self.high


AXES = ("difficulty", "labels", "teacher", "student")


def read_map(path: Path) -> list[MapCell]:
    """Cells in the file's order: as they were run.

    Raises:
        DataError: No such file, or a column or an arm is missing.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no map", remedy="name its CSV, or run cells: python -m benchmarks.map run")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    by_cell: dict[str, dict[str, dict[str, str]]] = {}
    for row in rows:
        by_cell.setdefault(row.get("cell", ""), {})[row.get("arm", "")] = row
    return [_cell(path, name, arms) for name, arms in by_cell.items()]


def _cell(path: Path, name: str, arms: dict[str, dict[str, str]]) -> MapCell:
    try:
        workflow, direct = arms[WORKFLOW], arms[DIRECT]
        value = {key: float(workflow[key]) for key in _NUMBERS}
        return MapCell(
            name=name,
            levels={axis: workflow[axis] for axis in AXES},
            gain=value["gain"],
            low=value["gain_low"] if isfinite(value["gain_low"]) else -float("inf"),
            high=value["gain_high"] if isfinite(value["gain_high"]) else float("inf"),
            workflow=float(workflow["mean"]),
            direct=float(direct["mean"]),
            figures={
                **known_before(
                    start=value["start"],
                    mixed=value["mixed"],
                    labels=value["labels_spent"],
                    teacher_start=value["teacher_start"],
                    teacher_size=value["teacher_size"],
                    kl_start=value["kl_start"],
                ),
                "c1_gain": value["c1_gain"],
                "log_kl_before": _log_kl(value["kl_before"]),
                "log_kl_after": _log_kl(value["kl_after"]),
            },
        )
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{path}: cell {name!r} is not whole ({error})", remedy="each cell has a row of either arm; see map.py"
        ) from None


_NUMBERS = (
    *("gain", "gain_low", "gain_high", "start", "mixed", "labels_spent", "teacher_start", "teacher_size", "kl_start"),
    *("c1_gain", "kl_before", "kl_after"),
)


def known_before(
    *, start: float, mixed: float, labels: float, teacher_start: float, teacher_size: float, kl_start: float
) -> dict[str, float]:
    """The predictors of `BEFORE`, of a cell or of somebody's own recipe."""
    return {
        "start": start,
        "mixed": mixed,
        "log_labels": log2(labels),
        "teacher_ahead": teacher_start - start,
        "log_teacher_size": log2(teacher_size),
        "log_kl_start": _log_kl(kl_start),
    }


def regression(cells: Sequence[MapCell], names: Sequence[str]) -> Fitted | None:
    """Of the gain over these predictors; None where there are too few cells."""
    return fit(names, [[cell.figures[name] for name in names] for cell in cells], [cell.gain for cell in cells])


def placed(cells: Sequence[MapCell], case: Mapping[str, float]) -> Placed:
    """Where a case lies by the predictors of `BEFORE`, or those of them that it has."""
    names = [name for name in BEFORE if name in case]
    return place(names, [[cell.figures[name] for name in names] for cell in cells], [case[name] for name in names])


def _log_kl(value: float) -> float:
    return log(max(value, LEAST_KL))
