"""The arithmetic world: problems small enough that a 0.1 M-parameter model can half learn them on a CPU.

A problem is a digit followed by n operations from + - * with operands 1 to 5, evaluated strictly from left to right,
every result modulo 10 (no precedence). Its worked solution writes each running result and boxes the last:
`3+5*2` -> `8;6;\\boxed{6}`. Guessing earns about 13 to 17 percent, since products make answers uneven.

`ArithmeticWorld` declares the axes along which the same task can be made harder; what stands above is its defaults.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from reasoning_pipeline.errors import DataError
from reasoning_pipeline.records import Problem

Split = Literal["pool", "validation", "test", "hard"]
SPLITS: tuple[str, ...] = get_args(Split)

MOST_PROBLEMS = 100_000
"""At most this many problems of a split: an eighth of the 506,250 expressions of four operations is 63,000, and every
second problem has four."""

LONGEST_EXPRESSION = 13
"""Characters of the longest expression (6 operations); the chat template pads to this length, so that the distance
between an operation and its step of the solution is always the same."""

OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": lambda value, operand: value + operand,
    "-": lambda value, operand: value - operand,
    "*": lambda value, operand: value * operand,
    ">": max,
    "<": min,
}
"""What an operator makes of the running result and its operand, before the modulus; `>` takes the larger, `<` the
smaller."""

_SALTS = {"pool": 0, "validation": 101, "test": 7001, "hard": 7002}
_CORPUS_WEIGHTS = (0.15, 0.20, 0.25, 0.20, 0.15, 0.05)
_TERM = re.compile(r"([-+*<>])(\d+)")
_DISTRACTOR = re.compile(r"\[[^]]*\]")
_TRIES = 2_000
"""Expressions drawn in a row without a new problem, after which a split counts as used up."""


class ArithmeticWorld(BaseModel):
    """What the problems are made of. The defaults are the world of the demo, to the last problem."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    operations: tuple[int, ...] = Field((4, 5), min_length=1)
    """Chain lengths of pool, validation and test, in turn."""
    hard_operations: tuple[int, ...] = Field((6,), min_length=1)
    """Chain lengths of the split `hard`."""
    operators: str = "+-*"
    """Of + - * > <; `>` takes the larger of the running result and the operand, `<` the smaller."""
    modulus: int = Field(10, ge=2, le=100)
    """Of every running result."""
    largest_operand: int = Field(5, ge=1, le=99)
    """Operands are drawn from 1 to this."""
    distractors: int = Field(0, ge=0)
    """Terms in square brackets that each expression has besides and that change nothing: `3+5[*4]*2`."""
    written_every: int = Field(1, ge=1)
    """The worked solution writes every so-many-th running result and the last; above 1 the operations between have to
    be done in the head, which is what a model's size decides."""
    held_out: tuple[str, ...] = ()
    """Pairs of neighbouring operators (`*-`) that `hard` alone has, at least one in each problem, and no corpus."""

    @field_validator("operators")
    @classmethod
    def _known_operators(cls, value: str) -> str:
        if not value or set(value) - OPERATORS.keys() or len(set(value)) < len(value):
            raise ValueError(f"some of {' '.join(OPERATORS)}, each once")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for pair in self.held_out:
            if len(pair) != 2 or set(pair) - set(self.operators):
                raise ValueError(f"held_out: {pair!r} is not a pair of the operators {self.operators!r}")
        if self.held_out and all(a + b in self.held_out for a in self.operators for b in self.operators):
            raise ValueError("held_out: every pair of operators is held out; nothing is left to learn from")
        if min(*self.operations, *self.hard_operations, 2) < 1 or (self.held_out and min(self.hard_operations) < 2):
            raise ValueError("a chain has at least one operation, and two where pairs are held out")
        return self

    @property
    def longest_expression(self) -> int:
        """Characters of the longest question."""
        term = 1 + len(str(self.largest_operand))
        operations = max(*self.operations, *self.hard_operations)
        return len(str(self.modulus - 1)) + operations * term + self.distractors * (term + 2)

    def part(self, expression: str) -> str:
        """Which part of the space an expression belongs to, by a hash: tests 1/8, validation 1/8, pool the rest."""
        bucket = hashlib.sha256(expression.encode()).digest()[0] % 8
        return {0: "test", 1: "validation"}.get(bucket, "pool")

    def may_stand_in(self, expression: str, split: str) -> bool:
        """Whether an expression is one of this split."""
        if self.part(expression) != ("test" if split == "hard" else split):
            return False
        return self.has_held_out(expression) == (split == "hard" and bool(self.held_out))

    def has_held_out(self, expression: str) -> bool:
        """Whether a pair of neighbouring operators is one that only `hard` has."""
        if not self.held_out:  # nearly every world, and planning asks of every expression that it draws
            return False
        return any(a + b in self.held_out for a, b in pairwise(_operators(expression)))

    def identity(self) -> str:
        """In the ids of its problems, since one expression may have another answer in another world; empty for the
        defaults."""
        if self == ArithmeticWorld():
            return ""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8] + "/"


DEFAULT = ArithmeticWorld()


def is_default(world: ArithmeticWorld) -> bool:
    """Left out of what is fingerprinted: recipes that declare no world keep the identities that they had before."""
    return world == DEFAULT


def problems(split: Split, count: int, seed: int = 0, world: ArithmeticWorld = DEFAULT) -> list[Problem]:
    """`count` distinct problems of a split.

    `test` and `hard` do not depend on the seed, and a problem of theirs never stands in `pool` or `validation`:
    the space is divided by a hash of the expression (an eighth is held out for tests).

    Raises:
        DataError: The world does not have so many.
    """
    fixed = split in ("test", "hard")
    rng = random.Random(f"arithmetic/{split}/{0 if fixed else seed}/{_SALTS[split]}")
    lengths = world.hard_operations if split == "hard" else world.operations
    prefix = f"arithmetic/{world.identity()}"
    found: dict[str, Problem] = {}
    tries = 0
    while len(found) < count:
        operations = lengths[len(found) % len(lengths)]
        expression = _expression(rng, operations, world)
        tries += 1
        if expression not in found and world.may_stand_in(expression, split):
            found[expression] = Problem(
                id=prefix + expression,
                question=expression,
                answer=str(running_results(expression, world)[-1]),
                meta={"operations": operations},
            )
            tries = 0
        if tries > _TRIES:
            raise DataError(
                f"this arithmetic world has about {len(found):,} problems of the split {split!r}, not {count:,}",
                remedy="ask for fewer, or give it longer chains, more operators or larger operands",
            )
    return list(found.values())


def running_results(expression: str, world: ArithmeticWorld = DEFAULT) -> list[int]:
    """Results after each operation. `running_results("3+5*2") == [8, 6]`."""
    value, terms = _read(expression)
    results = []
    for operator, operand in terms:
        value = OPERATORS[operator](value, operand) % world.modulus
        results.append(value)
    return results


def solution(expression: str, results: Sequence[int] | None = None, world: ArithmeticWorld = DEFAULT) -> str:
    """The worked solution: `solution("3+5*2") == "8;6;\\\\boxed{6}"`."""
    results = running_results(expression, world) if results is None else results
    written = (results[place] for place in _written(len(results), world))
    return "".join(f"{result};" for result in written) + f"\\boxed{{{results[-1]}}}"


def corpus(seed: int, *, noisy: bool, world: ArithmeticWorld = DEFAULT) -> Iterator[tuple[str, str]]:
    """Endless (expression, solution) pairs for pretraining; never an expression of the test splits.

    Noisy solutions: one in seven or so is clean; in the others each written result is replaced, with probability 0.3,
    by one drawn evenly, and the chain goes on from it. The model keeps the format and doubts the arithmetic.
    """
    rng = random.Random(f"arithmetic/corpus/{seed}/{'noisy' if noisy else 'clean'}")
    longest = max(*world.operations, *world.hard_operations)
    lengths = range(1, longest + 1)
    weights = _CORPUS_WEIGHTS if longest == len(_CORPUS_WEIGHTS) else (1.0,) * longest
    least = min(*world.operations, *world.hard_operations)
    while True:
        operations = rng.choices(lengths, weights)[0]
        expression = _expression(rng, operations, world)
        if operations >= least and world.part(expression) == "test":
            continue
        if world.has_held_out(expression):
            continue
        clean = not noisy or rng.random() < 0.15
        results = running_results(expression, world) if clean else _noisy_results(rng, expression, world)
        yield expression, solution(expression, results, world)


def _noisy_results(rng: random.Random, expression: str, world: ArithmeticWorld) -> list[int]:
    value, terms = _read(expression)
    written = set(_written(len(terms), world))
    results = []
    for place, (operator, operand) in enumerate(terms):
        spoilt = place in written and rng.random() < 0.3
        value = rng.randrange(world.modulus) if spoilt else OPERATORS[operator](value, operand) % world.modulus
        results.append(value)
    return results


def _written(results: int, world: ArithmeticWorld) -> list[int]:
    """Places of the results that a solution writes: every `written_every`-th, and always the last."""
    return [place for place in range(results) if (place + 1) % world.written_every == 0 or place == results - 1]


def _read(expression: str) -> tuple[int, list[tuple[str, int]]]:
    """(first value, (operator, operand) of each operation), without what stands in brackets."""
    plain = _DISTRACTOR.sub("", expression)
    first = re.match(r"\d+", plain)
    assert first is not None, expression
    return int(first[0]), [(operator, int(operand)) for operator, operand in _TERM.findall(plain[first.end() :])]


def _operators(expression: str) -> list[str]:
    return [operator for operator, _ in _read(expression)[1]]


def _expression(rng: random.Random, operations: int, world: ArithmeticWorld) -> str:
    def term() -> str:
        return rng.choice(world.operators) + str(rng.randint(1, world.largest_operand))

    terms = [term() for _ in range(operations)]
    first = rng.randrange(world.modulus)
    for _ in range(world.distractors):
        terms.insert(rng.randint(0, len(terms)), f"[{term()}]")
    return f"{first}{''.join(terms)}"
