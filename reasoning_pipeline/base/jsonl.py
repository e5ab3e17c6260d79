"""Files of one JSON object a line, read by line feeds alone.

`str.splitlines` would also cut at U+2028 and U+0085, which model output and questions may hold and JSON leaves as is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def lines(rows: Iterable[dict[str, Any]]) -> str:
    """The text of these rows."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read_rows(path: Path, *, torn: bool = False) -> list[dict[str, Any]]:
    """All rows. With `torn`, what a killed writer left unfinished at the end is dropped; else it is an error."""
    rows = []
    with path.open(encoding="utf-8-sig", newline="\n") as file:  # some editors put a byte order mark in front
        for line in file:
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                if not torn:
                    raise
                break
    return rows


def count_rows(path: Path) -> int:
    """How many rows a file has, without reading what they say."""
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())
