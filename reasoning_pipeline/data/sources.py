"""Data sets -> problems. Checks every row, names the line that is wrong, and gives each problem a stable id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.data import arithmetic
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.records import Problem

if TYPE_CHECKING:
    from reasoning_pipeline.recipe import DataConfig

QUESTION_COLUMNS = ("question", "problem", "prompt")
ANSWER_COLUMNS = ("answer", "solution", "reference")
ID_COLUMNS = ("id", "unique_id")
MAX_LINE_BYTES = 1 << 20


def load_problems(config: DataConfig, *, folder: Path, seed: int) -> list[Problem]:
    """The problems of one data set, deduplicated by question, in a stable order.

    Rows whose answer cannot serve as a reference for other reasons are found by the verifier when labels are spent.

    Args:
        folder: Where relative paths start (the recipe's folder).
        seed: Only the arithmetic world depends on it.

    Raises:
        DataError: A missing file or column, broken JSON, an empty question; says where and what was found. Rows with
            an empty answer are refused too: an empty reference must never match anything.
    """
    if config.source == "arithmetic":
        assert config.count is not None
        split = "pool" if config.split == "train" else config.split
        return arithmetic.problems(split, config.count, seed)  # type: ignore[arg-type]
    if config.source == "jsonl":
        assert config.path is not None
        path = Path(config.path).expanduser()
        path = path if path.is_absolute() else folder / path
        rows: Iterable[tuple[str, dict[str, Any]]] = _jsonl_rows(path)
    else:
        rows = _hub_rows(config)
    found: dict[str, Problem] = {}
    places: dict[str, str] = {}
    for place, row in rows:
        problem = _problem(row, config.columns, place, keep_empty=config.unusable_answers == "set_aside")
        if not problem.answer:
            continue
        if found.setdefault(" ".join(problem.question.split()), problem) is not problem:
            continue
        if (first := places.setdefault(problem.id, place)) != place:
            raise DataError(
                f"{place}: the id {problem.id!r} stands at {first} already, with another question",
                remedy="give every problem an id of its own, or none: it is then made from the question",
            )
    problems = sorted(found.values(), key=lambda problem: stable_hash(problem.id))
    return problems[: config.count] if config.count is not None else problems


def read_questions(path: Path) -> list[Problem]:
    """Problems of a JSONL file whose questions matter and whose answers may be missing, in file order."""
    return [_problem({"answer": "", **row}, {}, place, keep_empty=True) for place, row in _jsonl_rows(path)]


def stable_hash(text: str) -> str:
    """Orders and divides problems the same way on every machine and in every version."""
    return hashlib.sha256(text.encode()).hexdigest()


def _jsonl_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if not path.is_file():
        raise DataError(f"{path}: no such file", remedy="check the data set's `path` (relative to the recipe)")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            place = f"{path}:{number}"
            if len(line) > MAX_LINE_BYTES:
                raise DataError(
                    f"{place}: a line of {len(line):,} bytes; at most {MAX_LINE_BYTES:,} are read",
                    remedy="write one problem a line; shorten or remove this one",
                )
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
                raise DataError(f"{place}: not valid JSON ({error})", remedy="mend or remove the line") from error
            if not isinstance(row, dict):
                raise DataError(
                    f"{place}: expected an object, found {type(row).__name__}",
                    remedy='write one problem a line: {"question": ..., "answer": ...}',
                )
            yield place, row


def _hub_rows(config: DataConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    import datasets

    assert config.id is not None
    try:
        table = datasets.load_dataset(config.id, config.subset, split=config.split, revision=config.revision)
    except Exception as error:  # the hub client raises many kinds; each means: not to be had here
        raise DataError(
            f"data set {config.id!r} could not be loaded: {error}",
            remedy="prefetch it on a machine with network access, or use `source: jsonl` with a local file",
        ) from error
    for number, row in enumerate(table):
        yield f"{config.id}[{number}]", dict(row)


def _problem(row: dict[str, Any], columns: Any, place: str, *, keep_empty: bool = False) -> Problem:
    question = _column(row, columns.get("question"), QUESTION_COLUMNS, "question", place)
    answer = _column(row, columns.get("answer"), ANSWER_COLUMNS, "answer", place)
    if not question.strip():
        raise DataError(f"{place}: the question is empty", remedy="fill it in or drop the row")
    if not answer.strip() and not keep_empty:
        raise DataError(
            f"{place}: the answer is empty",
            remedy="fill it in or drop the row; `unusable_answers: set_aside` leaves such rows out",
        )
    identity = _column(row, columns.get("id"), ID_COLUMNS, "id", place, optional=True)
    meta = {key: row[key] for key in ("subject", "level", "year", "operations") if row.get(key) is not None}
    return Problem(
        id=identity or f"q-{stable_hash(question)[:16]}", question=question, answer=answer.strip(), meta=meta
    )


def _column(
    row: dict[str, Any], named: str | None, usual: tuple[str, ...], what: str, place: str, *, optional: bool = False
) -> str:
    """The text of the first of these columns that holds one; empty where all are null."""
    names = (named,) if named else usual
    for name in names:
        value = row.get(name)
        if isinstance(value, list | dict):
            raise DataError(
                f"{place}: column {name!r} holds a {type(value).__name__}, not a text",
                remedy=f"name another column in the recipe: `columns: {{{what}: NAME}}`",
            )
        if value is not None:
            return str(value)
    if any(name in row for name in names) or (optional and named is None):
        return ""
    raise DataError(
        f"{place}: no column {' or '.join(map(repr, names))}; found {', '.join(map(repr, row)) or 'none'}",
        remedy=f"name the column in the recipe: `columns: {{{what}: NAME}}`",
    )
