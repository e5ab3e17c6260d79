"""Pools divide a data set exactly, without overlap and independently of row order; what is spent is counted once."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from reasoning_pipeline.labels import Ledger, Spend, distinct_labels
from reasoning_pipeline.recipe import load_recipe

from .conftest import Bench

Rows = Callable[..., Path]
TEXT = """
name: labels
data: {mine: {source: jsonl, path: problems.jsonl, pools: POOLS}}
steps:
  base: {stage: pretrain}
"""


def pools_of(bench: Bench, rows: Rows, items: list, pools: str) -> dict[str, list[str]]:
    """Pool -> ids of its problems."""
    rows(items)
    recipe = load_recipe(bench.write(TEXT.replace("POOLS", pools)))
    ledger = Ledger(recipe)
    return {name: [problem.id for problem in ledger.pool(name)] for name in recipe.pools()}


def questions(count: int, start: int = 0) -> list[dict[str, str]]:
    return [{"id": f"p{i}", "question": f"What is {i}?", "answer": str(i)} for i in range(start, start + count)]


def test_shares_are_exact(bench: Bench):
    # 3/4 of 1,024 is 768
    recipe = bench.recipe(overrides=("data.problems.count=1024",))
    ledger = Ledger(recipe)
    first, second = ledger.pool("first"), ledger.pool("second")
    assert (len(first), len(second)) == (768, 256)
    assert not {p.id for p in first} & {p.id for p in second}
    assert {p.id for p in first + second} == {p.id for p in ledger.data("problems")}


@pytest.mark.parametrize(
    ("pools", "sizes"),
    [
        ("{a: 1/3, b: 1/3, c: 1/3}", [33, 34, 33]),  # cuts at 33.3 and 66.7; nothing is lost to rounding
        ("{a: 0.1, b: 0.2, c: 0.7}", [10, 20, 70]),
        ("{a: 1/2}", [50]),  # the rest belongs to nobody
        ("{a: 1}", [100]),
        ("{a: 1/7, b: 1/7, c: 1/7, d: 1/7, e: 1/7, f: 1/7, g: 1/7}", [14, 15, 14, 14, 14, 15, 14]),
    ],
)
def test_any_shares_partition(bench: Bench, rows: Rows, pools: str, sizes: list[int]):
    divided = pools_of(bench, rows, questions(100), pools)
    assert [len(ids) for ids in divided.values()] == sizes
    ids = [i for pool in divided.values() for i in pool]
    assert len(set(ids)) == len(ids)


def test_row_order_does_not_matter(bench: Bench, rows: Rows):
    items = questions(60)
    before = pools_of(bench, rows, items, "{a: 1/2, b: 1/2}")
    random.Random(0).shuffle(items)
    assert pools_of(bench, rows, items, "{a: 1/2, b: 1/2}") == before


def test_neither_questions_nor_answers_decide_a_problem_s_pool_but_its_id(bench: Bench, rows: Rows):
    before = pools_of(bench, rows, questions(60), "{a: 1/2, b: 1/2}")
    reworded = [{**row, "question": row["question"] + " Say it.", "answer": "7"} for row in questions(60)]
    assert pools_of(bench, rows, reworded, "{a: 1/2, b: 1/2}") == before


def test_adding_rows_only_moves_problems_next_to_a_cut(bench: Bench, rows: Rows):
    # each new row shifts every cut by less than one place, so at most ten problems cross it
    before = pools_of(bench, rows, questions(200), "{a: 1/2, b: 1/2}")
    after = pools_of(bench, rows, questions(210), "{a: 1/2, b: 1/2}")
    old = set(before["a"]) | set(before["b"])
    crossed = {i for i in before["a"] if i in after["b"]} | {i for i in before["b"] if i in after["a"]}
    assert 0 < len(crossed) <= 10
    near = {*before["a"][-10:], *before["b"][:10]}
    assert crossed <= near
    # the order of the old ones among themselves stays
    assert [i for i in after["a"] + after["b"] if i in old] == before["a"] + before["b"]


def test_a_pool_s_order_is_not_the_order_of_the_file(bench: Bench, rows: Rows):
    (ids,) = pools_of(bench, rows, questions(50), "{a: 1}").values()
    assert ids != [f"p{i}" for i in range(50)] and sorted(ids) == sorted(f"p{i}" for i in range(50))


# --- spending --------------------------------------------------------------------------------------------------------


def test_a_lineage_s_spend_is_that_of_all_it_comes_from(bench: Bench):
    ledger = Ledger(bench.recipe())
    first = Spend(step="teacher_rl", pool="first", labels=12, replay=False)
    second = Spend(step="polish", pool="second", labels=4, replay=False)
    assert ledger.spent_by("distill") == []  # it reads the questions of a pool and buys no answer
    assert ledger.spent_by_lineage("teacher_base") == []
    assert ledger.spent_by_lineage("distill") == [first]
    assert ledger.spent_by_lineage("polish") == [first, second]
    assert distinct_labels(ledger.spent_by_lineage("polish")) == 16


def test_a_replayed_pool_is_bought_once(bench: Bench):
    recipe = bench.recipe(lambda r: r["steps"]["polish"].update(spends=["first", "second"], replay=True))
    spends = Ledger(recipe).spent_by_lineage("polish")
    assert [(s.step, s.pool, s.labels, s.replay) for s in spends] == [
        ("teacher_rl", "first", 12, False),
        ("polish", "first", 12, True),
        ("polish", "second", 4, True),
    ]
    assert distinct_labels(spends) == 16  # 12 + 4, not 28


def test_nothing_spent_is_zero():
    assert distinct_labels([]) == 0


LONG = "How many ways are there to colour the seven faces of this solid red, green or blue if {}?"
"""Fifteen words before the blank: two problems made of it share thirteen words in a row."""


@pytest.mark.parametrize(("rule", "left"), [("ngram", ["c"]), ("exact", ["b", "c"]), ("keep", ["a", "b", "c"])])
def test_problems_that_stand_in_a_benchmark_are_left_out_and_counted(
    bench: Bench, rows: Rows, rule: str, left: list[str]
) -> None:
    same, alike = LONG.format("turning it changes nothing"), LONG.format("two of them touch")
    rows(
        [
            {"id": "a", "question": same, "answer": "1"},
            {"id": "b", "question": alike, "answer": "2"},
            {"id": "c", "question": "What is 2+2?", "answer": "4"},
        ]
    )
    benchmark = [{"problem": same.upper()}]
    (bench.write("x").parent / "math500.jsonl").write_text("".join(json.dumps(row) + "\n" for row in benchmark))
    text = TEXT.replace("POOLS", "{all: 1}, benchmark_overlap: " + rule)
    ledger = Ledger(load_recipe(bench.write(text + "evaluate: {suites: math500, data: {math500: math500.jsonl}}\n")))
    assert sorted(problem.id for problem in ledger.pool("all")) == left
    counted = {overlap.train_id for overlap in ledger.left_out["mine"].get("math500", [])}
    assert counted == {"a", "b"} - set(left)
