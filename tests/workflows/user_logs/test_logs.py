"""Sessions of three forms become one record; personal data is masked; what cannot be used is counted."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import reduce
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from reasoning_pipeline.data.redaction import by_patterns, redactor
from reasoning_pipeline.errors import DataError, PipelineError
from reasoning_pipeline.workflows.user_logs.logs import (
    MAX_CHARACTERS,
    ReadLogs,
    file_sessions,
    load_logs,
    read_sessions,
)

Read = Callable[..., ReadLogs]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def reading(*rows: object, redact: Callable[[str], str] = by_patterns) -> ReadLogs:
        path = tmp_path / "sessions.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return read_sessions(file_sessions(path), redact)

    return reading


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def test_every_form_of_a_session_is_the_same_log(read: Read):
    turns = [
        turn("user", "a poem"),
        turn("assistant", "Rain."),
        turn("user", "longer"),
        turn("assistant", "Rain falls."),
    ]
    found = read(
        {"id": "a", "query": "a poem", "answer": "Rain.", "feedback": ["longer"], "language": "English"},
        {"id": "b", "messages": turns},
        {"conversation_hash": "c", "language": "English", "conversation": turns, "toxic": False},
        {"id": "d", "request": {"model": "m", "messages": turns[:3]}, "response": {"choices": [{"message": turns[3]}]}},
        {"id": "e", "messages": [{**turns[0], "content": [{"type": "text", "text": "a poem"}]}, *turns[1:]]},
        {"dataset_name": "Poems", "test_idx": 7, "lang": "en", "dialog": str(turns), "info": "{}"},
        {"dataset_name": "Poems", "test_idx": 8, "lang": "en", "dialog": json.dumps(turns)},
    )
    assert [log.id for log in found.logs] == ["a", "b", "c", "d", "e", "Poems/7", "Poems/8"]
    assert {(log.question, log.answer, log.feedback, log.language) for log in found.logs} == {
        ("a poem", "Rain.", ("longer",), "en")
    }


def test_earlier_turns_stand_in_the_question(read: Read):
    messages = [turn("system", "Be brief."), turn("user", "hello"), turn("assistant", "hi"), turn("user", "no, rain")]
    (log,) = read({"messages": messages}).logs
    assert log.question == "system: Be brief.\n\nhello" and log.feedback == ("no, rain",)


def test_what_teaches_nothing_is_set_aside_and_counted(read: Read):
    good = {"id": "g", "query": "q", "answer": "a", "feedback": "shorter"}
    found = read(
        good,
        good,
        {"query": "q", "answer": "a", "feedback": []},
        {"query": "q", "answer": "a"},
        {"query": "q", "answer": " ", "feedback": ["x"]},
        {"query": "q", "answer": 3, "feedback": ["x"]},
        {"messages": [turn("user", "q")]},
        {"messages": [turn("tool", "q")]},
        {"messages": "q"},
        {"dialog": "__import__('os').getcwd()"},
        {"request": {"messages": [turn("user", "q")]}, "response": {"choices": []}},
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        {"query": "q", "answer": "a" * (MAX_CHARACTERS + 1), "feedback": ["x"]},
    )
    assert len(found.logs) == 1
    assert found.counts() == {
        "a turn of more than 100,000 characters": 1,
        "a turn of nobody known": 1,
        "a turn without text": 1,
        "answer is no text": 1,
        "empty answer": 1,
        "id stands twice": 1,
        "messages is no list of turns": 2,
        "no answer": 2,
        "no feedback": 2,
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[1, 2]", ":1: expected an object, found list"),
        ("{", ":1: not valid JSON"),
        ("[" * 100_000, ":1: not valid JSON"),
    ],
)
def test_a_line_that_is_no_object_is_named(tmp_path: Path, line: str, said: str):
    path = tmp_path / "logs.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=said):
        read_sessions(file_sessions(path), by_patterns)


def test_a_file_of_which_nothing_is_left_says_why(read: Read):
    with pytest.raises(DataError, match=r"none of 1 sessions can be learned from: \{'no feedback': 1\}"):
        read({"query": "q", "answer": "a"})


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mail ann.lee+x@mail.example.org now", "mail [EMAIL] now"),
        ("call +49 30 1234 5678", "call [PHONE]"),
        ("call (555) 123-4567", "call [PHONE]"),
        ("key sk-abcdEFGH1234567890abcd", "key [KEY]"),
        ("card 4111 1111 1111 1111", "card [CARD]"),
        ("host 192.168.0.12", "host [IP]"),
        ("手机13912345678。", "手机[PHONE]。"),
        ("in 2026 we sold 1,234 of 3.14", "in 2026 we sold 1,234 of 3.14"),
    ],
)
def test_personal_data_is_masked(text: str, masked: str):
    assert by_patterns(text) == masked


def test_what_is_written_holds_no_address(read: Read, tmp_path: Path):
    address = "ann@example.org"
    found = read({"query": f"I am {address}", "answer": f"Hi {address}", "feedback": [f"write to {address}"]})
    found.save(tmp_path)
    assert address not in (tmp_path / "logs.jsonl").read_text()
    assert load_logs(tmp_path) == found.logs


def test_a_redactor_that_is_not_installed_says_how_to_get_it():
    with pytest.raises(PipelineError, match=r"presidio is not installed"):
        redactor("presidio")


def test_presidio_finds_names_and_patterns_the_rest(monkeypatch: pytest.MonkeyPatch):
    class Analyzer:
        def analyze(self, *, text: str, language: str) -> list[str]:
            return ["Ann"] if "Ann" in text and language == "en" else []

    class Anonymizer:
        def anonymize(self, *, text: str, analyzer_results: list[str]) -> SimpleNamespace:
            return SimpleNamespace(
                text=reduce(lambda told, name: told.replace(name, "<PERSON>"), analyzer_results, text)
            )

    for name, entry in (("presidio_analyzer", "AnalyzerEngine"), ("presidio_anonymizer", "AnonymizerEngine")):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        setattr(module, entry, Analyzer if entry.startswith("Analyzer") else Anonymizer)
        monkeypatch.setitem(sys.modules, name, module)
    assert redactor("presidio")("Ann is at ann@example.org") == "<PERSON> is at [EMAIL]"


def test_a_function_of_ones_own_stands_behind_the_one_that_is_named(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text("def redact(text):\n    return text.replace('Ann', '[NAME]')\n")
    assert redactor("patterns", str(file))("Ann, ann@example.org") == "[NAME], [EMAIL]"
    file.write_text("x = 1\n")
    with pytest.raises(PipelineError, match="has no function `redact`"):
        redactor("none", str(file))


def test_masking_takes_no_time_on_text_made_to_be_slow():
    by_patterns("a." * 20_000 + "@" + "1 " * 20_000)
