"""From a benchmark's source (hub, JSONL file, generator) to rows of id, question, answer, each with its place.

Nothing here judges an answer; it only finds it. Where it stands is decided by the suite's YAML, because the obvious
places are wrong now and then: AIME solutions box intermediate results, GSM8K's answer follows "####".
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from reasoning_pipeline.errors import DataError

AnswerForm = Literal["as_is", "integer", "after_hashes", "last_box"]

ID_NAMES = ("unique_id", "id")
QUESTION_NAMES = ("problem", "question")
"""Column names understood in any local file, after those of the suite."""


class Hub(BaseModel):
    """A data set on the hub. The revision is a commit, so the bytes cannot change under it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    config: str | None = None
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")
    split: str


class Generator(BaseModel):
    """A split of the arithmetic world; the same three values always give the same problems."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: Literal["pool", "test", "hard", "validation"]
    count: int = Field(ge=1)
    seed: int


class Columns(BaseModel):
    """Which column holds what; `meta` maps our name to theirs, and absent meta columns are left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str | None = None
    """None: the id is made from the question, so it survives reordering."""
    question: str = "problem"
    answer: str = "answer"
    meta: dict[str, str] = {"subject": "subject", "level": "level"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One benchmark row as found. `place` is for messages: "math.jsonl line 3" or "row 3 of openai/gsm8k".

    Example:
        Row(place="aime.jsonl line 2", id="aime2024/I/02", question="There exist...", answer="25", meta={"year": 2024})
    """

    place: str
    id: str
    question: str
    answer: str
    """Empty where the source has an empty answer: the suite sets such a row aside."""
    meta: dict[str, Any] = field(default_factory=dict)


def from_file(path: Path, columns: Columns, form: AnswerForm) -> list[Row]:
    """Rows of a JSONL file. Raises DataError naming the line of whatever is wrong with it."""
    return [_row(place, record, columns, form) for place, record in read_jsonl(path)]


def read_jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line's object with its place. Blank lines are skipped."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # not splitlines: JSON may hold U+2028 unescaped
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise DataError(f"{path}: {reason}", remedy="give a readable JSONL file, one problem a line") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{path} line {number}"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{place}: not JSON ({error.msg} at column {error.colno})",
                remedy="one JSON object a line, nothing else",
            ) from None
        if not isinstance(record, dict):
            raise DataError(f"{place}: expected an object, found {type(record).__name__}", remedy="one problem a line")
        yield place, record


def from_hub(hub: Hub, columns: Columns, form: AnswerForm, *, suite: str) -> list[Row]:
    """Rows of a data set on the hub, downloaded once into the hub's cache."""
    remedy = f"get the file elsewhere and pass --data {suite}=FILE.jsonl (columns unique_id, problem, answer)"
    try:
        from datasets import load_dataset
    except ImportError:
        raise DataError(
            f"suite {suite}: the package `datasets` is not installed, so {hub.dataset} cannot be loaded", remedy=remedy
        ) from None
    try:
        data = load_dataset(hub.dataset, hub.config, split=hub.split, revision=hub.revision)
    except Exception as error:  # the hub's client raises a dozen unrelated types when it cannot be reached
        first_line = str(error).strip().split("\n")[0]
        raise DataError(
            f"suite {suite}: could not load {hub.dataset}@{hub.revision[:12]} ({type(error).__name__}: {first_line})",
            remedy=remedy,
        ) from error
    return [
        _row(f"row {number} of {hub.dataset}", dict(record), columns, form) for number, record in enumerate(data, 1)
    ]


def from_generator(generator: Generator) -> list[Row]:
    from reasoning_pipeline.data.arithmetic import problems

    made = problems(generator.split, generator.count, generator.seed)
    return [
        Row(place=f"problem {n}", id=p.id, question=p.question, answer=p.answer, meta=p.meta)
        for n, p in enumerate(made)
    ]


def _row(place: str, record: dict[str, Any], columns: Columns, form: AnswerForm) -> Row:
    question_name = _column(place, record, "question", (columns.question, *QUESTION_NAMES))
    # A local copy that has an answer column has the answer; only the hub's layout hides it in the solution.
    answer_name = _column(
        place, record, "answer", ("answer", columns.answer) if form == "last_box" else (columns.answer, "answer")
    )
    question = record[question_name]
    if not isinstance(question, str) or not question.strip():
        raise DataError(f'{place}: "{question_name}" is empty', remedy="remove the row or write its question")
    id_name = next(
        (name for name in (columns.id, *ID_NAMES) if name is not None and record.get(name) is not None), None
    )
    read_form: AnswerForm = "as_is" if form == "last_box" and answer_name == "answer" else form
    return Row(
        place=place,
        id=str(record[id_name]) if id_name else f"q-{hashlib.sha256(question.encode()).hexdigest()[:12]}",
        question=question,
        answer=_answer(place, record[answer_name], read_form),
        meta={ours: _meta(ours, record[theirs]) for ours, theirs in _meta_columns(columns, record)},
    )


def _column(place: str, record: dict[str, Any], role: str, names: Iterable[str]) -> str:
    candidates = list(dict.fromkeys(names))
    for name in candidates:
        if name in record:
            return name
    found = ", ".join(record) or "nothing"
    raise DataError(
        f"{place}: no column for the {role}; expected {' or '.join(candidates)}, found {found}",
        remedy="rename the column in the file",
    )


def _meta_columns(columns: Columns, record: dict[str, Any]) -> list[tuple[str, str]]:
    """(our name, their name) of the meta columns this record has; a local file may already use our names."""
    found = [
        (ours, next((n for n in (theirs, ours) if record.get(n) is not None), None))
        for ours, theirs in columns.meta.items()
    ]
    return [(ours, name) for ours, name in found if name is not None]


def _meta(name: str, value: Any) -> Any:
    """MATH's "Level 5" becomes 5, so that the hub's copy and a local one group alike."""
    match = re.fullmatch(r"Level (\d)", value) if name == "level" and isinstance(value, str) else None
    return int(match.group(1)) if match else value


def _answer(place: str, value: Any, form: AnswerForm) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DataError(f"{place}: the answer is a {type(value).__name__}", remedy="write answers as text or numbers")
    text = str(value).strip()
    if not text or form == "as_is":
        return text
    if form == "integer":
        # As distributed: "025", and once "336^\circ".
        digits = re.fullmatch(r"\$?\s*(-?\d+)(?:\.0+)?\s*(?:\^\s*\{?\\circ\}?)?\s*\$?", text)
        if digits is None:
            raise DataError(f"{place}: expected an integer answer, found {text[:60]!r}", remedy="use the answer column")
        return str(int(digits.group(1)))
    if form == "after_hashes":
        _, hashes, after = text.rpartition("####")
        if not hashes and "\n" in text:
            raise DataError(f'{place}: no "####" before the final answer', remedy="keep GSM8K's own answer column")
        return re.sub(r"(?<=\d),(?=\d{3})", "", after.strip())
    from reasoning_pipeline.verifier.extraction import extract_answer

    return (extract_answer(text).answer or "").strip()
