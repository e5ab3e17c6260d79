"""Rows of somebody's data, and what they hold: the one reader of JSONL files and hub data sets, for training and
benchmarks alike.

Nothing here judges an answer; it only finds it. Where it stands is told by the recipe's or the suite's columns, because
the obvious places are wrong now and then: AIME solutions box intermediate results, GSM8K's answer follows "####".
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import BaseModel, ConfigDict

from reasoning_pipeline.base.hub import AWAY, is_commit, prepared_folder, refusal
from reasoning_pipeline.base.validation import suggested_file
from reasoning_pipeline.beside import LAUNCH
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.records import Problem

Row = tuple[str, dict[str, Any]]
"""(place for messages, such as `math.jsonl:3`; the row's columns)"""

AnswerForm = Literal["as_is", "integer", "after_hashes", "last_box"]

QUESTION_COLUMNS = ("question", "problem", "prompt")
ANSWER_COLUMNS = ("answer", "solution", "reference")
ID_COLUMNS = ("id", "unique_id")
"""Where a column is not named, the first of these that a row has."""
MAX_LINE_BYTES = 1 << 20


class Columns(BaseModel):
    """Which column holds what; `meta` maps our name to theirs, and absent meta columns are left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str | None = None
    """Without one the id is made from the question, so it survives reordering."""
    question: str | None = None
    """Without one, the first of the usual names that is there."""
    answer: str | None = None
    """As `question`."""
    meta: dict[str, str] = {"subject": "subject", "level": "level"}
    """What tables may group by."""


def jsonl_rows(
    path: Path,
    opened: Callable[[Path], IO[bytes]] = lambda path: path.open("rb"),
    *,
    one: str = "problem",
    like: str = '{"question": ..., "answer": ...}',
    longest: int = MAX_LINE_BYTES,
) -> Iterator[Row]:
    """One JSON object a line; blank lines are skipped. Raises DataError naming the line of whatever is wrong.

    Args:
        one, like: What a line is, and its form, as messages say it.
        longest: Line, in bytes.
    """
    try:
        file = opened(path)
    except OSError as error:
        gone = isinstance(error, FileNotFoundError)
        reason = f"no such file{suggested_file(path)}" if gone else error.strerror
        remedy = "give a readable JSONL file; a path in a recipe is relative to the recipe"
        raise DataError(f"{path}: {reason}", remedy=remedy) from None
    with file:
        for number, line in enumerate(iter(partial(file.readline, longest + 1), b""), start=1):
            place = f"{path}:{number}"
            if len(line) > longest:
                raise DataError(
                    f"{place}: a line of more than {longest:,} bytes",
                    remedy=f"write one {one} a line; shorten or remove this one",
                )
            if not line.strip():
                continue
            try:
                row = json.loads(line)  # of bytes, so that a byte order mark is no mistake
            except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
                raise DataError(f"{place}: not valid JSON ({error})", remedy="mend or remove the line") from error
            if not isinstance(row, dict):
                raise DataError(
                    f"{place}: expected an object, found {type(row).__name__}",
                    remedy=f"write one {one} a line: {like}",
                )
            yield place, row


def hub_rows(
    name: str, subset: str | None, split: str, revision: str | None, *, remedy: str | None = None
) -> Iterator[Row]:
    """Rows of a data set on the hub, from its cache where it was fetched before. Raises DataError.

    A revision that is a commit is read at that commit or not at all.
    """
    commit = revision if revision is not None and is_commit(revision) else None
    try:
        import datasets

        table = _prepared(name, subset, split, commit) if commit is not None else None
        if table is None:
            table = datasets.load_dataset(name, subset, split=split, revision=revision)
    except Exception as error:  # the hub's client raises many kinds; each means: not to be had here
        what, advice = refusal(error) or (str(error).strip().split("\n")[0], None)
        raise DataError(
            f"data set {name!r} could not be loaded: {what}",
            remedy=remedy
            or advice
            or f"`{LAUNCH} prefetch RECIPE` where there is network, or `source: jsonl` with a local file",
        ) from error
    # Where the hub does not answer, `datasets` reads the youngest revision that it finds, whichever was asked for.
    read = {Path(file["filename"]).parent.name for file in getattr(table, "cache_files", [])}
    if commit is not None and read - {commit}:
        raise DataError(
            f"data set {name!r} is not on this machine at commit {commit[:12]} (there is {', '.join(sorted(read))})",
            remedy=remedy or AWAY,
        )
    for number, row in enumerate(table):
        yield f"{name}[{number}]", dict(row)


def _prepared(name: str, subset: str | None, split: str, commit: str) -> Any | None:
    """What `datasets` made of this commit before, read without asking the hub; None where it has not."""
    found = [path.parent for path in prepared_folder(name).glob(f"{subset or '*'}/*/{commit}/dataset_info.json")]
    if len(found) != 1:
        return None
    from datasets.packaged_modules.cache.cache import Cache

    configuration, version = found[0].parts[-3:-1]
    last = name.rpartition("/")[2]
    builder = Cache(dataset_name=last, repo_id=name, config_name=configuration, version=version, hash=commit)
    return builder.as_dataset(split=split)


def read_problem(
    place: str,
    row: dict[str, Any],
    columns: Columns,
    form: AnswerForm = "as_is",
    *,
    empty_answers: bool = False,
    questions_only: bool = False,
    named_only: bool = False,
    id_digits: int = 16,
) -> Problem:
    """The problem that a row holds.

    Args:
        empty_answers: An empty answer is "" instead of an error.
        questions_only: Answers are not looked at, and are "".
        named_only: A column that is named is looked for under that name alone; else the usual ones serve too.
        id_digits: Of an id that is made from the question.

    Raises:
        DataError: No such column, an empty question, an answer that is no text or number.
    """

    def cell(what: str, named: str | None, usual: tuple[str, ...], missing: str | None = None) -> Any:
        names = dict.fromkeys((*filter(None, [named]), *(() if named and named_only else usual)))
        return _cell(place, row, what, tuple(names), None if named and named_only else missing)

    asked = cell("question", columns.question, QUESTION_COLUMNS)
    messages = read_messages(place, asked) if isinstance(asked, list) else None
    question = str(asked) if messages is None else "\n\n".join(m["content"] for m in messages if m["role"] != "system")
    if not question.strip():
        raise DataError(f"{place}: the question is empty", remedy="fill it in or drop the row")
    if form == "last_box" and row.get("answer") is not None:
        # A local copy that has an answer column has the answer; only the hub's layout hides it in the solution.
        form, columns = "as_is", columns.model_copy(update={"answer": "answer"})
    answer = "" if questions_only else _answer(place, cell("answer", columns.answer, ANSWER_COLUMNS), form)
    if not answer and not (empty_answers or questions_only):
        raise DataError(
            f"{place}: the answer is empty",
            remedy="fill it in or drop the row; `unusable_answers: set_aside` leaves such rows out",
        )
    identity = cell("id", columns.id, ID_COLUMNS, missing="")
    if messages is not None and len(messages) == 1:
        messages = None  # one question, however it is written
    hashed = question if messages is None else json.dumps(messages, ensure_ascii=False)
    return Problem(
        id=str(identity) or question_id(hashed, id_digits),
        question=question,
        answer=answer,
        meta=dict(_meta(row, columns)),
        messages=messages,
    )


ROLES = ("system", "user", "assistant")


def read_messages(place: str, value: list[Any]) -> list[dict[str, str]]:
    """A prompt in chat format: messages with `role` and `content`, the last of them the user's. Raises DataError."""
    remedy = 'write [{"role": "user", "content": "…"}], perhaps with a system message before it'
    messages: list[dict[str, str]] = []
    for number, message in enumerate(value):
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            raise DataError(f"{place}: message {number} has no text under `content`", remedy=remedy)
        if message.get("role") not in ROLES or (message["role"] == "system" and number):
            raise DataError(f"{place}: message {number} is of the role {message.get('role')!r}", remedy=remedy)
        messages.append({"role": message["role"], "content": message["content"]})
    if not messages or messages[-1]["role"] != "user" or not messages[-1]["content"].strip():
        raise DataError(f"{place}: the last message is not a question of the user", remedy=remedy)
    return messages


def value_at(row: dict[str, Any], name: str) -> Any:
    """A column, or what a dotted path leads to inside one: `extra.solution`, `messages.0.content`; None for nothing."""
    if name in row or "." not in name:
        return row.get(name)
    value: Any = row
    for part in name.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def question_id(question: str, digits: int) -> str:
    """The id of a problem that has none, made from its question."""
    return f"q-{hashlib.sha256(question.encode()).hexdigest()[:digits]}"


def _cell(place: str, row: dict[str, Any], what: str, names: tuple[str, ...], missing: str | None) -> Any:
    """What stands in the first of these columns that is filled; `missing` where the row has none of them."""
    for name in names:
        value = value_at(row, name)
        if isinstance(value, list) and what == "question":
            return value
        if isinstance(value, list | dict | bool):
            raise DataError(
                f"{place}: column {name!r} holds a {type(value).__name__}, not a text",
                remedy=f"name another column in the recipe: `columns: {{{what}: NAME}}`",
            )
        if value is not None:
            return value
    if any(name in row for name in names):
        return ""
    if missing is not None:
        return missing
    raise DataError(
        f"{place}: no column {' or '.join(map(repr, names))}; found {', '.join(map(repr, row)) or 'none'}",
        remedy=f"name the column in the recipe: `columns: {{{what}: NAME}}`",
    )


def _meta(row: dict[str, Any], columns: Columns) -> Iterator[tuple[str, Any]]:
    """(our name, value) of the meta columns this row has; a local file may already use our names."""
    for ours, theirs in columns.meta.items():
        value = next((value_at(row, name) for name in (theirs, ours) if value_at(row, name) is not None), None)
        if value is None:
            continue
        # MATH's "Level 5" becomes 5, so that the hub's copy and a local one group alike.
        level = re.fullmatch(r"Level (\d)", value) if ours == "level" and isinstance(value, str) else None
        yield ours, int(level.group(1)) if level else value


def _answer(place: str, value: Any, form: AnswerForm) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"{place}: the answer is {value}, no number", remedy="write answers as text or finite numbers")
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
