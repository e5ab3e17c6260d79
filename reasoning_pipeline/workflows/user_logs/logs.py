"""Logs of a system in use, from the forms in which they are kept to one checked record each.

Every row is one session, in one of these forms:

    {"id", "query": TEXT or messages, "answer": TEXT, "feedback": [TEXT, …], "language", "source"}
    {"id", "messages": [{"role", "content"}, …]}                                  as chat APIs take them
    {"id", "request": {"messages": […]}, "response": {"choices": [{"message": …}]}}   and log them
    {"conversation_hash", "language", "conversation": [{"role", "content"}, …]}   as WildChat has them
    {"dataset_name", "test_idx", "lang", "dialog": "[{'role', 'content'}, …]"}    as MemoryBench has them, on the hub

Of all but the first the query is what stands before the first answer, and every later turn of the user is feedback.
What a row says is not trusted: turns are bounded in number and length, and a session that cannot be used is set aside
with its reason, never repaired.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from reasoning_pipeline.base.jsonl import lines, read_rows
from reasoning_pipeline.base.messages import ROLES, as_one_text, text_of
from reasoning_pipeline.data.redaction import Redactor
from reasoning_pipeline.data.rows import Row, hub_rows, jsonl_rows
from reasoning_pipeline.errors import DataError

MAX_LINE_BYTES = 4_000_000
MAX_TURNS, MAX_CHARACTERS = 64, 100_000
"""Of one session, and of one turn."""
MAX_FEEDBACK = 8
"""Later turns are not read: they are seldom about the first answer."""
SESSIONS_FILE, LOGS_FILE, ASIDE_FILE = "sessions.jsonl", "logs.jsonl", "set_aside.jsonl"
LANGUAGES = {"english": "en", "chinese": "zh", "en": "en", "zh": "zh", "small": "small"}
"""Everything else is prompted in English."""


@dataclass(frozen=True, kw_only=True)
class Log:
    """One query, what was answered, and what the user said next.

    Example:
        Log(id="s-17", query=({"role": "user", "content": "a poem on rain"},), answer="Rain falls …",
            feedback=("shorter please",), language="en", source="chat")
    """

    id: str
    query: tuple[dict[str, str], ...]
    answer: str
    feedback: tuple[str, ...]
    language: str = "en"
    source: str = ""
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The query as one text."""
        return as_one_text(self.query)


Placed = tuple[int | str, dict[str, Any]]
"""Where a row stands, and the row."""


def language_of(row: dict[str, Any]) -> str:
    """The language that a row is prompted in."""
    said = str(row.get("language", row.get("lang", "en"))).lower()
    return LANGUAGES.get(said, LANGUAGES.get(said[:2], "en"))


class _Unusable(Exception):
    """Why a session is set aside."""


@dataclass(frozen=True, kw_only=True)
class ReadLogs:
    """What a file held."""

    logs: list[Log]
    set_aside: list[dict[str, Any]]
    """Line and reason of what was not taken."""

    def save(self, folder: Path) -> None:
        (folder / LOGS_FILE).write_text(lines(asdict(log) for log in self.logs), encoding="utf-8")
        (folder / ASIDE_FILE).write_text(lines(self.set_aside), encoding="utf-8")

    def counts(self) -> dict[str, int]:
        """Reason -> sessions."""
        return dict(sorted(Counter(entry["reason"] for entry in self.set_aside).items()))


def load_logs(folder: Path) -> list[Log]:
    """Of a published set."""
    rows = read_rows(folder / LOGS_FILE)
    return [Log(**{**row, "query": tuple(row["query"]), "feedback": tuple(row["feedback"])}) for row in rows]


class HubLogs(BaseModel):
    """Sessions of a data set of the hub."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    """Of the data set."""
    subsets: tuple[str, ...] = Field(min_length=1)
    """Its configurations, read one after the other."""
    split: str = "train"
    """Of each."""
    revision: str | None = None
    """A commit, so that a later run reads the same rows; without it, what `main` is when the step runs."""

    def rows(self) -> Iterator[Row]:
        """Raises DataError for what cannot be had."""
        for subset in self.subsets:
            for number, (_, row) in enumerate(hub_rows(self.id, subset, self.split, self.revision)):
                yield f"{self.id}/{subset}[{number}]", row


def read_sessions(rows: Iterable[Placed], redact: Redactor, *, source: str = "") -> ReadLogs:
    """Raises DataError where nothing can be used, or a line is no JSON object; a session that is merely of no use is
    set aside."""
    found: dict[str, Log] = {}
    aside: list[dict[str, Any]] = []
    for place, row in rows:
        try:
            log = _log(row, redact, source)
            if log.id in found:
                raise _Unusable("id stands twice")
        except _Unusable as reason:
            aside.append({"line": place, "reason": str(reason)})
            continue
        found[log.id] = log
    if not found:
        reasons = dict(Counter(entry["reason"] for entry in aside))
        raise DataError(
            f"none of {len(aside)} sessions can be learned from: {reasons}",
            remedy="a session needs a query, an answer, and what the user said next",
        )
    return ReadLogs(logs=list(found.values()), set_aside=aside)


def file_sessions(path: Path) -> Iterator[Placed]:
    """Line and object of each row of a JSONL file. Raises DataError for a line that is none."""
    for place, row in jsonl_rows(path, one="session", like="query, answer, feedback", longest=MAX_LINE_BYTES):
        yield int(place.rpartition(":")[2]), row


def _log(row: dict[str, Any], redact: Redactor, source: str) -> Log:
    turns = next((row[name] for name in ("messages", "conversation", "dialog") if name in row), None)
    if isinstance(row.get("request"), dict):
        turns = _logged(row["request"], row.get("response"))
    if turns is not None:
        query, answer, feedback = _from_turns(_literal(turns))
    else:
        query, answer, feedback = _from_fields(row)
    feedback = [said for said in feedback if said.strip()][:MAX_FEEDBACK]
    if not feedback:
        raise _Unusable("no feedback")
    if not answer.strip():
        raise _Unusable("empty answer")
    if max(map(len, (answer, *feedback, *(turn["content"] for turn in query)))) > MAX_CHARACTERS:
        raise _Unusable(f"a turn of more than {MAX_CHARACTERS:,} characters")
    meta = row.get("meta", {})
    name = row.get("id", row.get("conversation_hash"))
    if name is None and "test_idx" in row:
        name = f"{row.get('dataset_name', source)}/{row['test_idx']}"
    if name is None:  # the same session has the same name, wherever it stands in a file
        name = hashlib.sha256(json.dumps([query, answer, feedback]).encode()).hexdigest()[:16]
    return Log(
        id=str(name)[:200],
        query=tuple({"role": turn["role"], "content": redact(turn["content"])} for turn in query),
        answer=redact(answer),
        feedback=tuple(redact(said) for said in feedback),
        language=language_of(row),
        source=str(row.get("source", row.get("dataset_name", source)))[:200],
        meta=meta if isinstance(meta, dict) else {},
    )


def _from_fields(row: dict[str, Any]) -> tuple[list[dict[str, str]], str, list[str]]:
    query, answer, feedback = row.get("query"), row.get("answer"), row.get("feedback", [])
    messages = [{"role": "user", "content": query}] if isinstance(query, str) else _turns(query, "query")
    if isinstance(feedback, str):
        feedback = [feedback]
    if not isinstance(answer, str):
        raise _Unusable("answer is no text")
    if not isinstance(feedback, list) or not all(isinstance(said, str) for said in feedback):
        raise _Unusable("feedback is no list of texts")
    if not messages or not messages[-1]["content"].strip():
        raise _Unusable("empty query")
    return messages, answer, feedback


def _logged(request: dict[str, Any], response: Any) -> Any:
    """The turns of a request, and the answer it got."""
    messages = request.get("messages")
    try:
        return [*messages, response["choices"][0]["message"]] if isinstance(messages, list) else messages
    except (KeyError, IndexError, TypeError):
        return messages


def _literal(turns: Any) -> Any:
    """Turns that a data set keeps as text, as Python or JSON writes them."""
    if not isinstance(turns, str):
        return turns
    for read in (json.loads, ast.literal_eval):
        try:
            return read(turns)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return turns


def asked_in(turns: Any) -> str | None:
    """The query that turns come to; None where they are none."""
    try:
        found = _turns(_literal(turns), "messages")
    except _Unusable:
        return None
    return as_one_text(found) if found else None


def _from_turns(raw: Any) -> tuple[list[dict[str, str]], str, list[str]]:
    turns = _turns(raw, "messages")
    first = next((at for at, turn in enumerate(turns) if turn["role"] == "assistant"), None)
    if first is None:
        raise _Unusable("no answer")
    query = turns[:first]
    if not query or query[-1]["role"] != "user" or not query[-1]["content"].strip():
        raise _Unusable("empty query")
    return query, turns[first]["content"], [turn["content"] for turn in turns[first + 1 :] if turn["role"] == "user"]


def _turns(raw: Any, where: str) -> list[dict[str, str]]:
    if not isinstance(raw, list):
        raise _Unusable(f"{where} is no list of turns")
    if len(raw) > MAX_TURNS:
        raise _Unusable(f"more than {MAX_TURNS} turns")
    found = []
    for turn in raw:
        if not isinstance(turn, dict) or not isinstance(text := text_of(turn.get("content")), str):
            raise _Unusable("a turn without text")
        if turn.get("role") not in ROLES:
            raise _Unusable("a turn of nobody known")
        found.append({"role": turn["role"], "content": text})
    return found
