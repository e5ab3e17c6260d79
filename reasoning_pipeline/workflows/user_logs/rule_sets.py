"""What `extract_rules` published, read again: logs with their rules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.jsonl import read_rows
from reasoning_pipeline.workflows.user_logs.logs import Log, load_logs

RULES_FILE = "rules.jsonl"


@dataclass(frozen=True, kw_only=True)
class RuledLog:
    """Example: RuledLog(log=Log(…), rules=("Answer in one sentence.",), prior=("Name a source.",))."""

    log: Log
    rules: tuple[str, ...]
    """From the feedback."""
    prior: tuple[str, ...]
    """Guessed from the query alone."""

    def as_row(self) -> dict[str, Any]:
        return {"id": self.log.id, "rules": list(self.rules), "prior": list(self.prior)}


def load_rules(folder: Path) -> list[RuledLog]:
    logs = {log.id: log for log in load_logs(folder)}
    return [
        RuledLog(log=logs[row["id"]], rules=tuple(row["rules"]), prior=tuple(row["prior"]))
        for row in read_rows(folder / RULES_FILE)
    ]
