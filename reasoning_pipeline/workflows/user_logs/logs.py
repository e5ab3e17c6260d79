"""Logs of a system in use, from the forms in which they are kept to one checked record each.

Every line of a file is one session, in one of three forms:

    {"id", "query": TEXT or messages, "answer": TEXT, "feedback": [TEXT, …], "language", "source"}
    {"id", "messages": [{"role", "content"}, …]}                          as chat APIs log them
    {"conversation_hash", "language", "conversation": [{"role", "content"}, …]}   as WildChat has them

Of the last two the query is what stands before the first answer, and every later turn of the user is feedback. What a
file says is not trusted: turns are bounded in number and length, and a session that cannot be used is set aside with
its reason, never repaired.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.jsonl import lines, read_rows
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.workflows.user_logs.redaction import Redactor

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
        """The query as one text: earlier turns stand before the last one, with who spoke."""
        if len(self.query) == 1:
            return self.query[0]["content"]
        *earlier, last = self.query
        told = "\n".join(f"{turn['role']}: {turn['content']}" for turn in earlier)
        return f"{told}\n\n{last['content']}"

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Log:
        return cls(**{**row, "query": tuple(row["query"]), "feedback": tuple(row["feedback"])})


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
    return [Log.from_row(row) for row in read_rows(folder / LOGS_FILE)]


def read_sessions(path: Path, redact: Redactor, *, source: str = "") -> ReadLogs:
    """Raises DataError where nothing can be used, or a line is no JSON object; a session that is merely of no use is
    set aside."""
    found: dict[str, Log] = {}
    aside: list[dict[str, Any]] = []
    for number, row in _objects(path):
        try:
            log = _log(row, redact, source)
            if log.id in found:
                raise _Unusable("id stands twice")
        except _Unusable as reason:
            aside.append({"line": number, "reason": str(reason)})
            continue
        found[log.id] = log
    if not found:
        reasons = dict(Counter(entry["reason"] for entry in aside))
        raise DataError(
            f"{path}: none of {len(aside)} sessions can be learned from: {reasons}",
            remedy="a session needs a query, an answer, and what the user said next",
        )
    return ReadLogs(logs=list(found.values()), set_aside=aside)


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), start=1):
            if len(line) > MAX_LINE_BYTES:
                raise DataError(
                    f"{path} line {number}: longer than {MAX_LINE_BYTES:,} bytes", remedy="one session a line, in JSONL"
                )
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"{path} line {number}: no JSON ({str(error)[:120]})", remedy="one JSON object a line"
                ) from None
            if not isinstance(row, dict):
                raise DataError(
                    f"{path} line {number}: expected an object, found {type(row).__name__}",
                    remedy="one JSON object a line: query, answer, feedback",
                )
            yield number, row


def _log(row: dict[str, Any], redact: Redactor, source: str) -> Log:
    turns = row.get("messages", row.get("conversation"))
    if turns is not None:
        query, answer, feedback = _from_turns(turns)
    else:
        query, answer, feedback = _from_fields(row)
    feedback = [said for said in feedback if said.strip()][:MAX_FEEDBACK]
    if not feedback:
        raise _Unusable("no feedback")
    if not answer.strip():
        raise _Unusable("empty answer")
    if max(map(len, (answer, *feedback, *(turn["content"] for turn in query)))) > MAX_CHARACTERS:
        raise _Unusable(f"a turn of more than {MAX_CHARACTERS:,} characters")
    language = str(row.get("language", "en")).lower()
    meta = row.get("meta", {})
    name = row.get("id", row.get("conversation_hash"))
    if name is None:  # the same session has the same name, wherever it stands in a file
        name = hashlib.sha256(json.dumps([query, answer, feedback]).encode()).hexdigest()[:16]
    return Log(
        id=str(name)[:200],
        query=tuple({"role": turn["role"], "content": redact(turn["content"])} for turn in query),
        answer=redact(answer),
        feedback=tuple(redact(said) for said in feedback),
        language=LANGUAGES.get(language, LANGUAGES.get(language[:2], "en")),
        source=str(row.get("source", source))[:200],
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
    for turn in raw:
        if not isinstance(turn, dict) or not isinstance(turn.get("content"), str):
            raise _Unusable("a turn without text")
        if turn.get("role") not in ("system", "user", "assistant"):
            raise _Unusable("a turn of nobody known")
    return [{"role": turn["role"], "content": turn["content"]} for turn in raw]
