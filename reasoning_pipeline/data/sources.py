"""Data sets -> problems. Checks every row, names the line that is wrong, and gives each problem a stable id."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reasoning_pipeline.custom.naming import FunctionName
from reasoning_pipeline.data.config import DataConfig
from reasoning_pipeline.data.row_files import file_rows, mapped
from reasoning_pipeline.data.rows import Columns, Row, hub_rows, jsonl_rows, read_problem
from reasoning_pipeline.data.worlds import WORLDS
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.records import Problem

KEPT = ("subject", "level", "year", "operations")
"""Columns kept to look at, where a data set has them."""


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
        seed: Only worlds that are made here depend on it.

    Raises:
        DataError: A missing file or column, broken JSON, an empty question; says where and what was found. Rows with
            an empty answer are refused too: an empty reference must never match anything.
    """
    if (world := WORLDS.get(config.source)) is not None:
        assert config.count is not None
        split = world.train if config.split == "train" else config.split
        drawn_by = seed if config.seed is None else config.seed
        return LoadedData(problems=world.problems(split, config.count, drawn_by, config.world))
    rows = _rows(config, folder)
    unlabelled = config.columns.get("answer", "") is None
    columns = Columns(**config.columns, meta={name: name for name in KEPT} | config.keep)
    alike: dict[str, list[tuple[str, Problem]]] = {}
    first_place: dict[str, tuple[str, str]] = {}
    empty = 0
    for place, row in rows:
        problem = read_problem(
            place,
            row,
            columns,
            empty_answers=config.unusable_answers == "set_aside",
            questions_only=unlabelled,
            named_only=True,
        )
        if not problem.answer and not unlabelled:
            empty += 1
            continue
        text = same_text(problem.question if problem.messages is None else json.dumps(problem.messages))
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


def _rows(config: DataConfig, folder: Path) -> Iterable[Row]:
    rows: Iterable[Row]
    if config.source == "hub":
        assert config.id is not None
        rows = hub_rows(config.id, config.subset, config.split, config.revision)
    else:
        assert config.path is not None
        path = folder / Path(config.path).expanduser()
        rows = jsonl_rows(path) if config.source == "jsonl" else file_rows(path, config.split)
    name = FunctionName.parse(config.map) if config.map is not None else None
    if name is None:
        return rows
    source = str(folder / Path(name.source).expanduser()) if name.is_file else name.source
    return mapped(rows, source, name.function)


def same_text(text: str) -> str:
    """Equal for texts that differ in Unicode form or white space only. Case stays: x and X are two unknowns."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def stable_hash(text: str) -> str:
    """Orders and divides problems the same way on every machine and in every version."""
    return hashlib.sha256(text.encode()).hexdigest()
