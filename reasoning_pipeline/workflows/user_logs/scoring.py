"""Scores of a system's answers by programs that know what each user wished and see no rule of any log.

A row to be answered is {"id", "query", "language"?, "checks": [NAME, …]}, or one of the small world's. A check is a
program over the answer's text: what it asks is in its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.jsonl import read_rows
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.workflows.user_logs import small_world
from reasoning_pipeline.workflows.user_logs.logs import LANGUAGES, HubLogs, asked_in

SUITE = "user_logs"
_ENDS = re.compile(r"[.!?。！？]+(?=\s|$|[\"'”’」)])")

CHECKS: dict[str, Callable[[str], bool]] = {
    "one_sentence": lambda text: (
        bool(text.strip()) and len(_ENDS.findall(text.strip())) == 1 and "\n" not in text.strip()
    ),
    "bullets": lambda text: sum(bool(re.match(r"\s*(?:[-*•]|\d+[.)])\s+\S", line)) for line in text.split("\n")) >= 2,
    "ends_with_question": lambda text: text.strip().endswith(("?", "？")),
    "contains_example": lambda text: bool(
        re.search(r"\bfor example\b|\bfor instance\b|\be\.g\.|例如|比如", text.casefold())
    ),
}


def score(row: dict[str, Any], answer: str) -> float:
    """Share of the wishes that the answer meets, 0 to 1."""
    if "wish" in row:
        return small_world.score(row, answer)
    return sum(CHECKS[name](answer) for name in row["checks"]) / len(row["checks"])


def read_queries(path: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """Raises DataError for a row without a query, or with a check that there is not."""
    rows = read_rows(path)[:limit]
    for number, row in enumerate(rows, start=1):
        checks = row.get("checks") if isinstance(row, dict) else None
        if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not isinstance(row.get("query"), str):
            raise DataError(f"{path} line {number}: no id or no query", remedy='{"id": …, "query": …, "checks": […]}')
        if not isinstance(checks, list) or not checks or (unknown := [name for name in checks if name not in CHECKS]):
            said = f"unknown {unknown[0]!r}" if isinstance(checks, list) and checks else "none"
            raise DataError(f"{path} line {number}: checks: {said}", remedy=f"some of: {', '.join(CHECKS)}")
    return rows


def hub_queries(hub: HubLogs, count: int) -> list[dict[str, Any]]:
    """At most `count` queries of each subset, as MemoryBench has them: {"dataset_name", "test_idx", "lang",
    "input_prompt"} or, in place of the last, "input_chat_messages". Nothing else of a row is read."""
    found: dict[str, list[dict[str, Any]]] = {}
    for place, row in hub.rows():
        query = row.get("input_prompt") or asked_in(row.get("input_chat_messages"))
        if not isinstance(query, str) or not query.strip():
            raise DataError(f"{place}: no query", remedy="a row has input_prompt, or input_chat_messages")
        kind, language = str(row.get("dataset_name")), LANGUAGES.get(str(row.get("lang")), "en")
        if len(own := found.setdefault(kind, [])) < count:
            own.append({"id": f"{kind}/{row.get('test_idx')}", "query": query, "language": language, "kind": kind})
    return [row for own in found.values() for row in own]


def suite_queries(file: str | None, count: int) -> list[dict[str, Any]]:
    """At most `count` queries of a file, or of the small world where there is none."""
    return small_world.test_queries(count) if file is None else read_queries(Path(file), count)
