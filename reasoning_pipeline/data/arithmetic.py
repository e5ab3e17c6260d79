"""The arithmetic world: problems small enough that a 0.1 M-parameter model can half learn them on a CPU.

A problem is a digit followed by n operations from + - * with operands 1 to 5, evaluated strictly from left to right,
every result modulo 10 (no precedence). Its worked solution writes each running result and boxes the last:
`3+5*2` -> `8;6;\\boxed{6}`. Guessing earns about 13 to 17 percent, since products make answers uneven.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

from reasoning_pipeline.records import Problem

Split = Literal["pool", "validation", "test", "hard"]
SPLITS: tuple[str, ...] = get_args(Split)

MOST_PROBLEMS = 100_000
"""At most this many problems of a split: an eighth of the 506,250 expressions of four operations is 63,000, and every
second problem has four."""

LONGEST_EXPRESSION = 13
"""Characters of the longest expression (6 operations); the chat template pads to this length, so that the distance
between an operation and its step of the solution is always the same."""

_OPERATIONS = {"pool": (4, 5), "validation": (4, 5), "test": (4, 5), "hard": (6,)}
_SALTS = {"pool": 0, "validation": 101, "test": 7001, "hard": 7002}
_CORPUS_OPERATIONS = (1, 2, 3, 4, 5, 6)
_CORPUS_WEIGHTS = (0.15, 0.20, 0.25, 0.20, 0.15, 0.05)


def problems(split: Split, count: int, seed: int = 0) -> list[Problem]:
    """`count` distinct problems of a split.

    `test` and `hard` do not depend on the seed, and a problem of theirs never stands in `pool` or `validation`:
    the space is divided by a hash of the expression (an eighth is held out for tests).
    """
    held_out = split in ("test", "hard")
    rng = random.Random(f"arithmetic/{split}/{0 if held_out else seed}/{_SALTS[split]}")
    lengths = _OPERATIONS[split]
    found: dict[str, Problem] = {}
    while len(found) < count:
        operations = lengths[len(found) % len(lengths)]
        expression = _expression(rng, operations)
        if expression not in found and _part(expression) == (split if split != "hard" else "test"):
            found[expression] = Problem(
                id=f"arithmetic/{expression}",
                question=expression,
                answer=str(running_results(expression)[-1]),
                meta={"operations": operations},
            )
    return list(found.values())


def running_results(expression: str) -> list[int]:
    """Results after each operation. `running_results("3+5*2") == [8, 6]`."""
    value = int(expression[0])
    results = []
    for operator, operand in zip(expression[1::2], expression[2::2], strict=True):
        value = _apply(value, operator, int(operand))
        results.append(value)
    return results


def solution(expression: str, results: Sequence[int] | None = None) -> str:
    """The worked solution: `solution("3+5*2") == "8;6;\\\\boxed{6}"`."""
    results = running_results(expression) if results is None else results
    return "".join(f"{result};" for result in results) + f"\\boxed{{{results[-1]}}}"


def corpus(seed: int, *, noisy: bool) -> Iterator[tuple[str, str]]:
    """Endless (expression, solution) pairs for pretraining; never an expression of the test splits.

    Noisy solutions: one in seven or so is clean; in the others each result is replaced, with probability 0.3, by a
    uniform digit, and the chain goes on from it. The model keeps the format and doubts the arithmetic.
    """
    rng = random.Random(f"arithmetic/corpus/{seed}/{'noisy' if noisy else 'clean'}")
    while True:
        expression = _expression(rng, rng.choices(_CORPUS_OPERATIONS, _CORPUS_WEIGHTS)[0])
        if len(expression) >= 2 * min(_OPERATIONS["test"]) + 1 and _part(expression) == "test":
            continue
        clean = not noisy or rng.random() < 0.15
        results = running_results(expression) if clean else _noisy_results(rng, expression)
        yield expression, solution(expression, results)


def _noisy_results(rng: random.Random, expression: str) -> list[int]:
    value = int(expression[0])
    results = []
    for operator, operand in zip(expression[1::2], expression[2::2], strict=True):
        value = rng.randrange(10) if rng.random() < 0.3 else _apply(value, operator, int(operand))
        results.append(value)
    return results


def _apply(value: int, operator: str, operand: int) -> int:
    return {"+": value + operand, "-": value - operand, "*": value * operand}[operator] % 10


def _expression(rng: random.Random, operations: int) -> str:
    tail = "".join(rng.choice("+-*") + str(rng.randint(1, 5)) for _ in range(operations))
    return f"{rng.randrange(10)}{tail}"


def _part(expression: str) -> str:
    """Which part of the space an expression belongs to, by a hash: tests 1/8, validation 1/8, pool the rest."""
    bucket = hashlib.sha256(expression.encode()).digest()[0] % 8
    return {0: "test", 1: "validation"}.get(bucket, "pool")
