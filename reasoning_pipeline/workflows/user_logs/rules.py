"""Rules as a model writes them: a JSON list of short imperative sentences, read with suspicion.

A model may write prose around the list, or no list, or ten thousand characters. What cannot be read is counted, not
guessed: a rule that was misread would be trained on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.jsonl import read_rows
from reasoning_pipeline.workflows.user_logs.logs import Log, load_logs

RULES_FILE = "rules.jsonl"
MAX_RULES, MAX_RULE_CHARACTERS = 5, 400
MAX_REPLY_CHARACTERS = 20_000
RULES_SCHEMA = json.dumps(
    {"type": "array", "items": {"type": "string", "maxLength": MAX_RULE_CHARACTERS}, "maxItems": MAX_RULES}
)
SCORE_SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"reason": {"type": "string", "maxLength": 600}, "score": {"enum": list(range(1, 11))}},
        "required": ["reason", "score"],
        "additionalProperties": False,
    }
)
"""What a server keeps a reply to, token by token. Replies are read with the same suspicion all the same."""
_NUMBERED = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.):])\s*")
_FENCED = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)


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


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """Example: Parsed(rules=("Answer in one sentence.",), problem=None)."""

    rules: tuple[str, ...]
    problem: str | None
    """Why there are none, or fewer than were written; None where all is well. An empty list is no problem."""


def parse_rules(text: str) -> Parsed:
    """The rules in a model's reply; duplicates, but for case and blanks, count once."""
    if len(text) > MAX_REPLY_CHARACTERS:
        return Parsed(rules=(), problem=f"a reply of more than {MAX_REPLY_CHARACTERS:,} characters")
    value = _json_in(text, "[")
    if not isinstance(value, list):
        return Parsed(rules=(), problem="no JSON list")
    if not all(isinstance(item, str) for item in value):
        return Parsed(rules=(), problem="a rule that is no text")
    kept: dict[str, str] = {}
    for item in value:
        rule = " ".join(item.split())
        if rule and len(rule) <= MAX_RULE_CHARACTERS:
            kept.setdefault(rule.casefold(), rule)
    problem = None
    if any(len(" ".join(item.split())) > MAX_RULE_CHARACTERS for item in value):
        problem = f"a rule of more than {MAX_RULE_CHARACTERS} characters"
    elif len(kept) > MAX_RULES:
        problem = f"more than {MAX_RULES} rules"
    return Parsed(rules=tuple(kept.values())[:MAX_RULES], problem=problem)


def parse_score(text: str) -> int | None:
    """1 to 10; None where the judge gave no such number."""
    value = _json_in(text[:MAX_REPLY_CHARACTERS], "{")
    score = value.get("score") if isinstance(value, dict) else None
    return score if isinstance(score, int) and not isinstance(score, bool) and 1 <= score <= 10 else None


def parse_numbered(text: str) -> tuple[str, ...]:
    """A critic's suggestions, one a line, with or without numbers."""
    found = (_NUMBERED.sub("", line).strip()[:MAX_RULE_CHARACTERS] for line in text[:MAX_REPLY_CHARACTERS].split("\n"))
    return tuple(dict.fromkeys(line for line in found if line))[:MAX_RULES]


def numbered(rules: Sequence[str]) -> str:
    """As a critic learns to write them: `1. …`, one a line."""
    return "\n".join(f"{number}. {rule}" for number, rule in enumerate(rules, start=1))


def _json_in(text: str, opening: str) -> Any:
    """The first JSON value that begins with `opening`; None where there is none. Where a whole reply is JSON of another
    kind, that is the answer: the list inside {"rules": […]} was not asked for by itself."""
    fenced = _FENCED.search(text)
    text = (fenced.group(1) if fenced else text).strip()
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    start = text.find(opening)
    if start < 0:
        return None
    try:
        return json.JSONDecoder().raw_decode(text[start:])[0]
    except (ValueError, RecursionError):
        return None
