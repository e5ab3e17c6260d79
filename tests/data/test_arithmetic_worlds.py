"""Declared worlds: each axis does what it says, no test is ever learned from, and the defaults change nothing."""

from __future__ import annotations

import re
from itertools import islice, pairwise

import pytest
from pydantic import ValidationError

from reasoning_pipeline.data.arithmetic import (
    DEFAULT,
    SPLITS,
    ArithmeticWorld,
    corpus,
    problems,
    running_results,
    solution,
)
from reasoning_pipeline.data.config import DataConfig
from reasoning_pipeline.data.sources import load_problems
from reasoning_pipeline.data.tokenizer_making import ARITHMETIC_TEMPLATE, arithmetic_template
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.workflows.reasoning.stages import pretrain

WIDE = ArithmeticWorld(modulus=20, operators="+-*><", largest_operand=12, distractors=2)


def operators(question: str) -> list[str]:
    return re.findall(r"[-+*<>]", re.sub(r"\[.*?\]", "", question))


@pytest.mark.parametrize(
    ("expression", "results"),
    [
        ("19+12*2", [11, 2]),  # 31 modulo 20, then 22
        ("3[*4]-5", [18]),  # the bracket changes nothing; -2 modulo 20
        ("[+7]3>12<4", [12, 4]),  # the larger, then the smaller
        ("3[>9]*7[-1]", [1]),
    ],
)
def test_by_hand(expression: str, results: list[int]):
    assert running_results(expression, WIDE) == results


def test_a_solution_writes_every_so_many_th_result_and_the_last():
    world = ArithmeticWorld(written_every=2)
    # 8, 6, 4, 5, 0: the second, the fourth and the last
    assert running_results("3+5*2-2+1*5", world) == [8, 6, 4, 5, 5]
    assert solution("3+5*2-2+1*5", world=world) == "6;5;5;\\boxed{5}"
    assert solution("3+5", world=world) == "8;\\boxed{8}"


def test_each_axis_is_in_the_problems():
    found = problems("test", 300, world=WIDE)
    assert {p.question.count("[") for p in found} == {2}
    assert {operator for p in found for operator in operators(p.question)} == set("+-*><")
    assert max(int(p.answer) for p in found) > 9 and max(len(p.question) for p in found) <= WIDE.longest_expression
    assert all(len(operators(p.question)) == p.meta["operations"] for p in found)
    longer = ArithmeticWorld(operations=(7,), hard_operations=(9,))
    assert {p.meta["operations"] for p in problems("pool", 20, world=longer)} == {7}
    assert {p.meta["operations"] for p in problems("hard", 20, world=longer)} == {9}


def test_pairs_held_out_stand_in_hard_problems_alone():
    world = ArithmeticWorld(held_out=("*-", "-*"))

    def holds(question: str) -> bool:
        return any(a + b in world.held_out for a, b in pairwise(operators(question)))

    for split in SPLITS:
        assert {holds(p.question) for p in problems(split, 200, world=world)} == {split == "hard"}  # type: ignore[arg-type]
    assert not any(holds(expression) for expression, _ in islice(corpus(0, noisy=False, world=world), 3000))


@pytest.mark.parametrize("noisy", [False, True])
def test_no_test_stands_in_the_corpus_of_its_world(noisy: bool):
    tests = {p.question for split in ("test", "hard") for p in problems(split, 500, world=WIDE)}  # type: ignore[arg-type]
    pairs = list(islice(corpus(0, noisy=noisy, world=WIDE), 6000))
    assert not tests & {expression for expression, _ in pairs}
    right = sum(text == solution(expression, world=WIDE) for expression, text in pairs) / len(pairs)
    assert right == 1 if not noisy else 0.2 < right < 0.8


def test_a_worlds_problems_have_ids_of_their_own():
    # one expression may have another answer in another world: the same id for both would mix them in a registry
    here, there = (problems("pool", 50, world=world) for world in (DEFAULT, ArithmeticWorld(written_every=2)))
    assert [p.question for p in here] == [p.question for p in there]
    assert not {p.id for p in here} & {p.id for p in there}


def test_a_world_that_is_used_up_says_so():
    with pytest.raises(DataError, match=r"about \d+ problems of the split 'pool', not 500"):
        problems("pool", 500, world=ArithmeticWorld(operations=(1,), hard_operations=(2,)))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"operators": "+/"}, "some of"),
        ({"held_out": ["*%"]}, "not a pair of the operators"),
        ({"operators": "+", "held_out": ["++"]}, "nothing is left to learn from"),
        ({"operations": [0]}, "at least one operation"),
    ],
)
def test_a_world_that_cannot_be(fields: dict[str, object], said: str):
    with pytest.raises(ValidationError, match=said):
        ArithmeticWorld.model_validate(fields)


def test_a_recipe_declares_its_world():
    config = DataConfig(source="arithmetic", count=5, world=WIDE)
    assert [p.question for p in load_problems(config, folder=None, seed=3)] == [  # type: ignore[arg-type]
        p.question for p in problems("pool", 5, 3, WIDE)
    ]
    with pytest.raises(ValidationError, match="these problems are read, not made"):
        DataConfig(source="jsonl", path="x.jsonl", world=WIDE)


def test_the_template_is_as_long_as_the_longest_question_and_the_default_one_as_before():
    assert arithmetic_template(DEFAULT) == ARITHMETIC_TEMPLATE
    assert f"%-{WIDE.longest_expression}s" in arithmetic_template(WIDE)


def test_the_demos_world_is_no_part_of_a_fingerprint():
    plain, wide = pretrain.Config(), pretrain.Config(world=WIDE)
    assert "world" not in plain.model_dump() and wide.model_dump()["world"]["modulus"] == 20
    assert plain.brings() != wide.brings()
