"""The worlds whose problems are made here and not read: by name, with their splits and a maker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reasoning_pipeline.data import arithmetic, word_problems
from reasoning_pipeline.data.arithmetic import ArithmeticWorld
from reasoning_pipeline.records import Problem


@dataclass(frozen=True, kw_only=True)
class MadeWorld:
    """Problems that a program makes, the same ones for the same split, count and seed."""

    train: str
    """The split that is learned from."""
    splits: tuple[str, ...]
    most: int
    """Problems of a split that may be asked for."""
    fixed: tuple[str, ...]
    """Splits that no seed changes: the tests."""
    problems: Callable[[Any, int, int, ArithmeticWorld], list[Problem]]
    """(split, count, seed, what arithmetic problems are made of) -> problems."""


WORLDS = {
    "arithmetic": MadeWorld(
        train="pool",
        splits=arithmetic.SPLITS,
        most=arithmetic.MOST_PROBLEMS,
        fixed=("test", "hard"),
        problems=arithmetic.problems,
    ),
    "word_problems": MadeWorld(
        train="train",
        splits=word_problems.SPLITS,
        most=word_problems.MOST_PROBLEMS,
        fixed=("test", "hard"),
        problems=lambda split, count, seed, _: word_problems.problems(split, count, seed),
    ),
}
