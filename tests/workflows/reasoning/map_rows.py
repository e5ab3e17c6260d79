"""A made-up map, for tests: cells whose gain follows a known rule."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any


def cell_rows(number: int, *, gain: float | None = None, **changed: Any) -> list[dict[str, Any]]:
    """Both rows of one cell; its gain falls by half of what the student knows at the start."""
    start = 0.1 + 0.05 * (number % 5)
    gain = 0.2 - 0.5 * start if gain is None else gain
    labels = 64 * 4 ** (number % 3)
    known = {
        "cell": f"near_l{labels}_t2_s{number}",
        "difficulty": "near" if number % 2 else "far",
        "labels": labels,
        "teacher": ("1", "2", "4")[number % 3],
        "student": ("15", "25", "35", "45")[number % 4],
        "start": start,
        "mixed": 0.9 - start,
        "teacher_start": start + 0.1 + 0.01 * (number % 4),
        "kl_start": 0.2 + 0.03 * (number % 7),
        "teacher_size": (1.05, 2.1, 3.8)[number % 3],
        "c1_gain": 0.3 + 0.02 * (number % 6),
        "kl_before": 0.3 + 0.02 * (number % 4),
        "kl_after": 0.02 + 0.004 * (number % 5),
        "gain": gain,
        "gain_low": gain - 0.04,
        "gain_high": gain + 0.04,
        "gain_p": 0.04,
        "gain_by_seed": f"{gain} {gain} {gain}",
        "definition": "made-up",
    }
    arms = {"workflow": 0.5 + gain, "direct": 0.5}
    return [
        known
        | changed
        | {"arm": arm, "setting": "main", "seeds": "0 1 2", "problems": 500, "mean": mean, "low": mean - 0.03}
        | {"high": mean + 0.03, "by_seed": "0.5 0.5 0.5", "labels_spent": labels, "cpu_minutes": 1.5}
        for arm, mean in arms.items()
    ]


def write_map(path: Path, cells: int) -> Path:
    rows = [row for number in range(cells) for row in cell_rows(number)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path
