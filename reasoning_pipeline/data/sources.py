"""Data sets -> problems. Checks every row, names the line that is wrong, and gives each problem a stable id."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.data import arithmetic
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.records import Problem

if TYPE_CHECKING:
    from reasoning_pipeline.recipe.reading import DataConfig

QUESTION_COLUMNS = ("question", "problem", "prompt")
ANSWER_COLUMNS = ("answer", "solution", "reference")
ID_COLUMNS = ("id", "unique_id")
MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """One question that stands in the data with different answers: nobody knows which is right.

    Example:
        Conflict(question="What is 2+2?", answers=("4", "5"), places=("dapo.jsonl:3", "dapo.jsonl:17"))
    """

    question: str
    answers: tuple[str, ...]
    places: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LoadedData:
    """The problems of one data set, and what was left out on the way."""

    problems: list[Problem]
    repeated: int = 0
    """Rows whose question (and answer) stood there already."""
    conflicts: tuple[Conflict, ...] = ()
    """Questions set aside because their rows disagree about the answer."""
    without_answer: int = 0


def load_problems(config: DataConfig, *, folder: Path, seed: int) -> list[Problem]:
    """The problems alone; see `load_data`."""
    return load_data(config, folder=folder, seed=seed).problems


def load_data(config: DataConfig, *, folder: Path, seed: int) -> LoadedData:
    """The problems of one data set, each question once, in a stable order.

    Rows are one problem when their questions are equal up to Unicode form and white space; where their answers differ
    as texts, the question is set aside and counted. Rows whose answer cannot serve as a reference for other reasons
    are found by the verifier when labels are spent.

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
        return LoadedData(problems=arithmetic.problems(split, config.count, seed))  # type: ignore[arg-type]
    if config.source == "jsonl":
        assert config.path is not None
        path = Path(config.path).expanduser()
        path = path if path.is_absolute() else folder / path
        rows: Iterable[tuple[str, dict[str, Any]]] = _jsonl_rows(path)
    else:
        rows = _hub_rows(config)
    alike: dict[str, list[tuple[str, Problem]]] = {}
    first_place: dict[str, tuple[str, str]] = {}
    empty = 0
    for place, row in rows:
        problem = _problem(row, config.columns, place, keep_empty=config.unusable_answers == "set_aside")
        if not problem.answer:
            empty += 1
            continue
        text = same_text(problem.question)
        first, its_text = first_place.setdefault(problem.id, (place, text))
        if its_text != text:
            raise DataError(
                f"{place}: the id {problem.id!r} stands at {first} already, with another question",
                remedy="give every problem an id of its own, or none: it is then made from the question",
            )
        alike.setdefault(text, []).append((place, problem))
    problems, conflicts, repeated = [], [], 0
    for found in alike.values():
        answers = tuple(dict.fromkeys(same_text(problem.answer) for _, problem in found))
        if len(answers) > 1:
            places = tuple(place for place, _ in found)
            conflicts.append(Conflict(question=found[0][1].question, answers=answers, places=places))
            continue
        repeated += len(found) - 1
        problems.append(min((p for _, p in found), key=lambda p: (len(p.question), p.question, p.id)))  # of any order
    problems.sort(key=lambda problem: stable_hash(problem.id))
    kept = problems[: config.count] if config.count is not None else problems
    return LoadedData(problems=kept, repeated=repeated, conflicts=tuple(conflicts), without_answer=empty)


def same_text(text: str) -> str:
    """Equal for texts that differ in Unicode form or white space only. Case stays: x and X are two unknowns."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def read_questions(path: Path) -> list[Problem]:
    """Problems of a JSONL file whose questions matter and whose answers may be missing, in file order."""
    return _questions(_jsonl_rows(path), {})


def hub_questions(hub: dict[str, Any], columns: dict[str, Any]) -> list[Problem]:
    """The same for a suite on the hub, from the `hub` and `columns` of its description. Raises DataError."""
    rows = hub_rows(hub["dataset"], hub.get("config"), hub["split"], hub.get("revision"))
    return _questions(rows, {"question": columns.get("question", "problem")})


def _questions(rows: Iterable[tuple[str, dict[str, Any]]], columns: dict[str, str]) -> list[Problem]:
    return [_problem({"answer": "", **row}, columns, place, keep_empty=True) for place, row in rows]


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
    assert config.id is not None
    return hub_rows(config.id, config.subset, config.split, config.revision)


def hub_rows(name: str, subset: str | None, split: str, revision: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of a data set on the hub, from its cache where it was fetched before. Raises DataError."""
    import datasets

    try:
        table = datasets.load_dataset(name, subset, split=split, revision=revision)
    except Exception as error:  # the hub client raises many kinds; each means: not to be had here
        raise DataError(
            f"data set {name!r} could not be loaded: {error}",
            remedy="`python -m launch prefetch RECIPE` where there is network, or `source: jsonl` with a local file",
        ) from error
    for number, row in enumerate(table):
        yield f"{name}[{number}]", dict(row)


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
