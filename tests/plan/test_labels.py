"""Pools divide a data set exactly, without overlap and independently of row order; what is spent is counted once."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reasoning_pipeline.__main__ import main
from reasoning_pipeline.data.pools import Pools
from reasoning_pipeline.errors import DataError, RecipeError
from reasoning_pipeline.plan.account import account
from reasoning_pipeline.plan.ledger import Ledger
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.model import Recipe
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.recipe.sections import data_source
from reasoning_pipeline.registry.record import Spend, distinct_labels
from tests.bench import RECIPE, Bench, Change

Rows = Callable[..., Path]
TEXT = """
name: labels
data: {mine: {source: jsonl, path: problems.jsonl, pools: POOLS}}
steps:
  base: {stage: pretrain}
"""


def ledger_of(recipe: Recipe) -> Ledger:
    return Ledger(recipe, Pools(data_source(recipe), recipe.seed))


def pools_of(bench: Bench, rows: Rows, items: list, pools: str) -> dict[str, list[str]]:
    """Pool -> ids of its problems."""
    rows(items)
    recipe = load_recipe(bench.write(TEXT.replace("POOLS", pools)))
    ledger = ledger_of(recipe)
    return {name: [problem.id for problem in ledger.pool(name)] for name in recipe.pools()}


def questions(count: int, start: int = 0) -> list[dict[str, str]]:
    return [{"id": f"p{i}", "question": f"What is {i}?", "answer": str(i)} for i in range(start, start + count)]


def test_shares_are_exact(bench: Bench):
    # 3/4 of 1,024 is 768
    recipe = bench.recipe(overrides=("data.problems.count=1024",))
    ledger = ledger_of(recipe)
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


def taken(bench: Bench, step: str, *changes: Change) -> list[tuple[str, str, int, int, bool]]:
    """(step, pool, labels, questions, replay) of everything behind a step, oldest first."""
    return [(s.step, s.pool, s.labels, s.prompts, s.replay) for s in bench.plan(*changes).step(step).lineage]


def test_a_lineage_s_spend_is_that_of_all_it_comes_from(bench: Bench):
    rl = ("teacher_rl", "first", 12, 0, False)
    asked = [(name, "first", 0, 12, False) for name in ("rollouts", "distill")]  # questions, and no answer is bought
    assert taken(bench, "teacher_base") == taken(bench, "student_base") == []
    assert taken(bench, "warmup") == [rl, asked[0]]
    assert taken(bench, "distill") == [rl, *asked]
    assert taken(bench, "polish") == taken(bench, "polish.evaluate") == [rl, *asked, ("polish", "second", 4, 0, False)]
    assert distinct_labels(bench.plan().step("polish").lineage) == 16  # 12 + 4


def test_a_replayed_pool_is_bought_once(bench: Bench):
    def replay(recipe: dict) -> None:
        recipe["steps"]["polish"].update(spends=["first", "second"], replay=True)

    assert taken(bench, "polish", replay)[-2:] == [
        ("polish", "first", 12, 0, True),
        ("polish", "second", 4, 0, True),
    ]
    assert distinct_labels(bench.plan(replay).step("polish").lineage) == 16  # 12 + 4, not 28


def test_pools_of_one_name_and_other_problems_are_two_purchases():
    spends = [Spend("a", "first", 12, pool_digest="x"), Spend("b", "first", 5, pool_digest="y")]
    assert distinct_labels([*spends, Spend("c", "first", 0, prompts=12, pool_digest="x")]) == 17


# --- labels behind models from elsewhere -----------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["artifact", "folder"])
def test_what_another_recipe_spent_comes_along_with_its_model(bench: Bench, by: str):
    plan = bench.plan()
    spend = [vars(entry) for entry in plan.step("distill").lineage]
    (artifact,) = bench.publish(plan, "distill", label_spend=spend)
    reference = artifact.name if by == "artifact" else str(artifact.folder)
    assert taken(bench, "polish", lambda r: r["steps"]["polish"].update(policy=reference))[:-1] == taken(
        bench, "distill"
    )


def test_a_pool_that_was_spent_on_that_model_is_refused_unless_it_is_a_replay(bench: Bench):
    plan = bench.plan()
    spend = [vars(entry) for entry in plan.step("teacher_rl").lineage]
    (artifact,) = bench.publish(plan, "distill", label_spend=spend)

    def again(replay: bool) -> Change:
        return lambda r: r["steps"]["polish"].update(policy=artifact.name, spends="first", replay=replay)

    with pytest.raises(RecipeError, match=r"steps\.polish\.spends: the labels of the pool 'first' were already spent"):
        bench.plan(again(replay=False))
    assert taken(bench, "polish", again(replay=True))[-1] == ("polish", "first", 12, 0, True)
    # the pool may be called anything; which problems it holds is what counts
    renamed = {"one": "3/4", "two": "1/4"}
    text = RECIPE.replace("spends: first", "spends: one").replace("prompts: first", "prompts: one")
    path = bench.write(text.replace("spends: second", "spends: one").replace("{first: 3/4, second: 1/4}", str(renamed)))
    path.write_text(path.read_text().replace("policy: step:distill", f"policy: {artifact.name}"))
    with pytest.raises(RecipeError, match=r"pool 'one' were already spent by 'teacher_rl' \(pool 'first'\)"):
        make_plan(load_recipe(path), bench.root)


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
    ledger = ledger_of(load_recipe(bench.write(text + "evaluate: {suites: math500, data: {math500: math500.jsonl}}\n")))
    assert sorted(problem.id for problem in ledger.pool("all")) == left
    counted = {overlap.train_id for overlap in ledger.left_out["mine"].get("math500", [])}
    assert counted == {"a", "b"} - set(left)


def test_a_suite_on_the_hub_is_looked_at_only_where_the_data_comes_from_there_too(
    bench: Bench, rows: Rows, monkeypatch: pytest.MonkeyPatch
):
    # never because a machine happens to have it: pools, and with them fingerprints, would depend on the machine
    from types import SimpleNamespace

    table = [{"id": "a", "problem": "What is 1+1?", "answer": "2"}, {"id": "b", "problem": "And 2+2?", "answer": "4"}]
    rows(table)
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=lambda name, *_, **__: table[:1]))
    text = TEXT.replace("POOLS", "{all: 1}") + "evaluate: {suites: math500}\n"
    local = ledger_of(load_recipe(bench.write(text))).pools.set("mine")
    assert (len(local.problems), local.overlaps) == (2, {})
    assert local.unknown == {"math500": "it comes from the hub; `evaluate.data.math500: FILE` names a local copy"}
    hub = text.replace("source: jsonl, path: problems.jsonl", "source: hub, id: org/math")
    monkeypatch.setitem(
        sys.modules,
        "datasets",
        SimpleNamespace(load_dataset=lambda name, *_, **__: table if name == "org/math" else table[:1]),
    )
    found = ledger_of(load_recipe(bench.write(hub))).pools.set("mine")
    assert [problem.id for problem in found.problems] == ["b"] and found.unknown == {}


# --- pools by file ---------------------------------------------------------------------------------------------------


def test_a_file_names_its_pool_and_shares_divide_the_rest(bench: Bench, rows: Rows):
    bench.write("p3\n\np7\n", "held_out.txt")
    divided = pools_of(bench, rows, questions(10), "{held_out: {file: held_out.txt}, a: 1/2, b: 1/2}")
    assert sorted(divided["held_out"]) == ["p3", "p7"]
    assert (len(divided["a"]), len(divided["b"])) == (4, 4)
    assert sorted(i for ids in divided.values() for i in ids) == sorted(f"p{i}" for i in range(10))


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"a.txt": "p1\nq2\n"}, r"data\.mine\.pools\.a: a\.txt:2: no problem has the id 'q2'"),
        ({}, r"data\.mine\.pools\.a: a\.txt: No such file"),
        ({"a.txt": "p1\n", "b.txt": "p2\np1\n"}, r"data\.mine\.pools\.b: 'p1' belongs to the pool 'a' already"),
        ({"a.txt": "\n"}, r"data\.mine\.pools\.a: a\.txt is none at all"),
    ],
)
def test_what_is_wrong_with_a_file_of_ids_is_named(bench: Bench, rows: Rows, files: dict, sentence: str):
    for name, text in files.items():
        bench.write(text, name)
    pools = "{a: {file: a.txt}" + (", b: {file: b.txt}}" if "b.txt" in files else "}")
    with pytest.raises(DataError, match=sentence):
        pools_of(bench, rows, questions(4), pools)


# --- the account -----------------------------------------------------------------------------------------------------


def test_the_account_of_an_arm_is_its_outcome_s_lineage(bench: Bench):
    def arms(recipe: dict) -> None:
        recipe["arms"] = {
            "replay": {"steps": {"polish": {"spends": "first", "replay": True}}},
            "raw": {"drop": ["teacher_rl", "polish"]},
        }

    found = {arm.arm: arm for arm in account(bench.plan(arms)).arms}
    assert {name: (arm.bought, arm.uses, arm.untouched) for name, arm in found.items()} == {
        "main": (16, 16, ()),
        "replay": (12, 24, ("second",)),  # one pool, twice
        "raw": (0, 0, ("second",)),  # questions only
    }
    assert [entry.prompts for entry in found["raw"].entries] == [12, 12]


def test_the_account_of_a_data_set_names_what_was_left_out(bench: Bench, rows: Rows):
    items = [{"id": i, "question": q, "answer": a} for i, q, a in (
        ("a", "What is 1+1?", "2"), ("b", "What  is 1+1? ", "2"), ("c", "And 2+2?", "4"), ("d", "And 2+2?", "5"),
        ("e", "And 3+3?", "6"), ("f", "And 4+4?", ""), ("g", "And 5+5?", "10"),
    )]  # fmt: skip
    rows(items)
    text = TEXT.replace("POOLS", "{half: 1/2}, unusable_answers: set_aside")
    (data,) = account(make_plan(load_recipe(bench.write(text)), bench.root)).data
    assert (data.problems, data.repeated, data.without_answer) == (3, 1, 1)  # a (= b), e, g; c and d disagree; f
    (conflict,) = data.conflicts
    assert (conflict["question"], conflict["answers"]) == ("And 2+2?", ("4", "5"))
    assert [place.rpartition(":")[2] for place in conflict["places"]] == ["3", "4"]
    assert (data.pools, data.in_no_pool) == ({"half": 2}, 1)


def test_the_command_shows_the_account_and_gives_it_as_json(bench: Bench, capsys: pytest.CaptureFixture[str]):
    replay = {"steps": {"polish": {"spends": "first", "replay": True}}}
    path = bench.changed(lambda r: r.update(arms={"replay": replay}))
    assert main(["labels", str(path), "--root", str(bench.root)]) == 0
    out = capsys.readouterr().out
    assert "main: 16 labels; outcome polish" in out
    assert "replay: 12 labels, 12 of them used again; outcome replay.polish" in out
    assert "12 in the pool first" in out
    assert main(["labels", str(path), "--root", str(bench.root), "--arm", "replay", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [(arm["arm"], arm["bought"], arm["uses"]) for arm in values["arms"]] == [("replay", 12, 24)]


def test_answers_that_only_measure_are_accounted_for_apart(bench: Bench):
    c1 = {"c1": {"problems": "second", "min_gain": 0.0}}
    (main_arm,) = account(bench.plan(lambda r: (r["steps"].pop("polish"), r.update(gates=c1)))).arms
    assert [(entry.step, entry.pool, entry.measured) for entry in main_arm.measured] == [("teacher_rl.c1", "second", 4)]
    assert (main_arm.bought, main_arm.untouched) == (12, ())
