"""Word problems for a small pretrained model: real sentences with names and things, answers that a program computes.

A template is a text and its steps; names, things and numbers are drawn. Splits have templates of their own, so an
answer to a test problem was not learned with its sentence: `train`, `validation` and `test` ask for one step or two, in
turn, `hard` for three. The worked solution writes each step and boxes the last result:
`4 * 3 = 12`, `12 - 5 = 7`, `\\boxed{7}`, a line each.
"""

from __future__ import annotations

import hashlib
import random
from typing import Literal, get_args

from reasoning_pipeline.records import Problem

Split = Literal["train", "validation", "test", "hard"]
SPLITS: tuple[str, ...] = get_args(Split)

MOST_PROBLEMS = 20_000
"""At most this many problems of a split; the narrowest has millions."""

NAMES = ("Ana", "Ben", "Carla", "Dan", "Emma", "Finn", "Grace", "Hugo", "Iris", "Jack", "Kate", "Leo", "Mia", "Noah",
         "Olga", "Paul", "Rosa", "Sam", "Tina", "Will")  # fmt: skip
THINGS = ("apples", "books", "cards", "coins", "cookies", "eggs", "flowers", "marbles", "oranges", "pencils", "shells",
          "stamps", "stickers", "toys")  # fmt: skip
HOLDERS = ("bags", "baskets", "boxes", "drawers", "jars", "packs")

TEMPLATES: dict[Split, tuple[tuple[str, str], ...]] = {
    # {a} to {d} are numbers, p and q the results of the first and the second step.
    "train": (
        ("{A} has {a} {things}. {B} gives {A} {b} more. How many {things} does {A} have now?", "a + b"),
        ("{A} has {a} {things}. {A} gives {b} of them to {B}. How many {things} does {A} have left?", "a - b"),
        ("There are {a} {holders} with {b} {things} in each. How many {things} are there?", "a * b"),
        ("{A} puts {a} {things} into {b} {holders}, the same number in each. How many are in each?", "a / b"),
        ("{A} found {a} {things} and {B} found {b}. How many {things} did they find together?", "a + b"),
        ("{A} needs {a} {things} and has {b}. How many more {things} does {A} need?", "a - b"),
        ("{A} has {a} {things}, buys {b} and then loses {c}. How many {things} does {A} have now?", "a + b; p - c"),
        ("{A} has {a} {holders} of {b} {things} and gives away {c}. How many {things} are left?", "a * b; p - c"),
        ("{A} has {a} {holders} of {b} {things} and {c} loose ones. How many {things} is that?", "a * b; p + c"),
        ("{A} gave {a} {things} to {B} and {b} to {C} out of {c}. How many are left?", "a + b; c - p"),
        ("{A} had {a} {things}, ate {b} and shared the rest among {c} friends. How many did each get?", "a - b; p / c"),
        ("{A} has {a} {things}. {B} has {b} times as many. How many have they together?", "a * b; a + p"),
    ),
    "validation": (
        ("A shop had {a} {things} and sold {b}. How many {things} remain?", "a - b"),
        ("{A} picks {a} {things} a day for {b} days. How many {things} does {A} pick?", "a * b"),
        ("{A} saved {a} {things} in May and {b} in June. How many {things} did {A} save?", "a + b"),
        ("{A} had {a} {things}. {B} took {b} and {C} took {c}. How many did {A} keep?", "a - b; p - c"),
        ("{A} filled {a} {holders} with {b} {things} each, and {B} added {c}. How many are there?", "a * b; p + c"),
        ("{A} and {B} put their {a} and {b} {things} into {c} equal piles. How big is a pile?", "a + b; p / c"),
    ),
    "test": (
        ("On Monday {A} collected {a} {things}, on Tuesday {b}. How many is that in all?", "a + b"),
        ("{A} started with {a} {things} and used {b}. How many {things} has {A} still got?", "a - b"),
        ("Each of {a} children brings {b} {things}. How many {things} do they bring?", "a * b"),
        ("{a} {things} are packed in {holders} of {b}. How many {holders} are filled?", "a / b"),
        ("{A} has {a} {things}, {B} has {b} more than {A}. How many do both have together?", "a + b; a + p"),
        ("{A} buys {a} {holders} holding {b} {things}, but {c} are broken. How many are good?", "a * b; p - c"),
        ("{A} wins {a} {things}, then {b} again, and hands {c} to {B}. What is {A} left with?", "a + b; p - c"),
        ("{a} {things} and {b} more are split evenly by {c} people. How many does one get?", "a + b; p / c"),
    ),
    "hard": (
        ("{A} has {a} {holders} of {b} {things}, finds {c} and gives {d} to {B}. How many are left?",
         "a * b; p + c; q - d"),
        ("{A} had {a} {things}. {B} gave {A} {b}, {C} gave {A} {c}, and {A} lost {d}. How many now?",
         "a + b; p + c; q - d"),
        ("{A} sells {a} {things} in the morning and {b} at noon, out of {c} {holders} of {d}. How many remain?",
         "c * d; a + b; p - q"),
        ("{A} has {a} {things}, {B} has {b} times as many, {C} has {c} fewer than {B}. How many has {A} with {C}?",
         "a * b; p - c; a + q"),
    ),
}  # fmt: skip

_SMALL, _LARGE = (2, 9), (3, 20)
"""Factors and divisors; the terms of sums and differences."""
_LARGEST = 99


def problems(split: Split, count: int, seed: int = 0) -> list[Problem]:
    """`count` distinct problems of a split; `test` and `hard` do not depend on the seed. Each brings its solution in
    `meta`."""
    fixed = split in ("test", "hard")
    rng = random.Random(f"word_problems/{split}/{0 if fixed else seed}")
    by_steps: dict[int, list[tuple[str, str]]] = {}
    for template in TEMPLATES[split]:
        by_steps.setdefault(template[1].count(";"), []).append(template)
    kinds = sorted(by_steps)
    found: dict[str, Problem] = {}
    while len(found) < count:
        problem = _drawn(rng, *rng.choice(by_steps[kinds[len(found) % len(kinds)]]))
        if problem is not None:
            found.setdefault(problem.question, problem)
    return list(found.values())


def _drawn(rng: random.Random, text: str, steps: str) -> Problem | None:
    """A template with names and numbers; None where the numbers give a result that nobody would count to."""
    parts = [tuple(step.split()) for step in steps.split(";")]
    small = {right for _, sign, right in parts if sign in "*/"} | {left for left, sign, _ in parts if sign == "*"}
    values = {
        letter: rng.randint(*(_SMALL if letter in small else _LARGE)) for letter in "abcd" if f"{{{letter}}}" in text
    }
    for left, sign, right in parts:  # a number that is divided is drawn as a multiple
        if sign == "/" and left in values:
            values[left] = values[right] * rng.randint(*_SMALL)
    lines = []
    for name, (left, sign, right) in zip("pqr", parts, strict=False):
        one, other = values[left], values[right]
        if sign == "/" and one % other:
            return None
        result = {"+": one + other, "-": one - other, "*": one * other, "/": one // other}[sign]
        if not 0 < result <= _LARGEST:
            return None
        values[name] = result
        lines.append(f"{one} {sign} {other} = {result}")
    who = dict(zip("ABC", rng.sample(NAMES, 3), strict=True))
    what = {"things": rng.choice(THINGS), "holders": rng.choice(HOLDERS)}
    question = text.format(**who, **what, **values)
    return Problem(
        id=f"word/{hashlib.sha256(question.encode()).hexdigest()[:12]}",
        question=question,
        answer=str(result),
        meta={"operations": len(parts), "solution": "\n".join([*lines, f"\\boxed{{{result}}}"])},
    )
