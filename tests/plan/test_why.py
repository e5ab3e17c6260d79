"""Why a step would run again, in the words that a person needs: which field, old and new, and through which input."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.__main__ import main
from reasoning_pipeline.data.problem_list import ProblemList
from reasoning_pipeline.plan.graph import Plan
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.plan.why import Reason, why
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.registry.differences import Change, differences
from reasoning_pipeline.registry.store import REMOVED, write_json
from tests.bench import MODEL_FILES, OUTSIDE_FILES, Bench, record, write_files

Rows = Callable[..., Path]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


def done(bench: Bench) -> Plan:
    """Everything of the small recipe is published."""
    plan = bench.plan()
    for step in plan.steps:
        if step.problems():
            ProblemList.of(step.problems()).save(_mkdir(plan.registry.root / "work" / step.output))
        bench.publish(plan, step.name)
    return plan


def _mkdir(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def reason(bench: Bench, step: str, *overrides: str) -> Reason:
    return why(bench.plan(overrides=overrides), step)


def roots(found: Reason) -> list[tuple[tuple[str, ...], str, str]]:
    return [(path, step, str(change)) for path, step, change in found.roots()]


def test_a_complete_step_and_one_that_never_was(bench: Bench):
    assert reason(bench, "distill").state == "never made"
    plan = done(bench)
    found = reason(bench, "distill")
    assert (found.state, found.output) == ("complete", plan.step("distill").output)


def test_a_changed_field_is_told_old_against_new(bench: Bench):
    plan = done(bench)
    found = reason(bench, "distill", "steps.distill.learning_rate=2e-6", "steps.distill.temperature=0.9")
    assert found.state == "differs" and found.earlier is not None
    assert found.earlier.name == plan.step("distill").output
    assert set(found.changes) == {Change("learning_rate", "1e-06", "2e-06"), Change("temperature", "1.0", "0.9")}
    assert found.inputs == {}


def test_a_change_far_above_is_followed_to_its_source(bench: Bench):
    done(bench)
    found = reason(bench, "polish.evaluate", "steps.warmup.learning_rate=2e-3")
    change = "learning_rate 1e-06 → 0.002"
    assert roots(found) == [(("checkpoint", "policy", "policy"), "warmup", change)]
    assert found.changes == () and list(found.inputs) == ["checkpoint"]


def test_a_source_that_is_reached_in_several_ways_is_told_once(bench: Bench):
    done(bench)
    found = reason(bench, "warmup", "steps.teacher_base.seed=7")
    assert [(step, change) for _, step, change in roots(found)] == [("teacher_base", "seed 0 → 7")]
    assert set(found.inputs) == {"teacher", "rollouts"}


def test_what_the_input_was_then_is_compared_and_not_what_is_nearest(bench: Bench):
    # a second, younger warmup exists; distill was made from the first
    done(bench)
    other = bench.plan(overrides=("steps.warmup.learning_rate=5e-3",))
    bench.publish(other, "warmup", created="2027-01-01T00:00:00+00:00")
    found = reason(bench, "distill", "steps.warmup.learning_rate=2e-3")
    assert roots(found) == [(("policy",), "warmup", "learning_rate 1e-06 → 0.002")]


def test_of_several_the_one_of_the_same_recipe_and_step_is_compared_then_the_youngest(bench: Bench):
    plan = bench.plan()
    for day, lr, recipe in (
        ("2026-01-01", "1e-5", "small"),
        ("2026-01-02", "2e-5", "small"),
        ("2027-01-01", "3e-5", "x"),
    ):
        step = bench.plan(overrides=(f"steps.polish.learning_rate={lr}",)).step("polish")
        work = write_files(bench.root / "work" / step.output, MODEL_FILES)
        plan.registry.publish(work, record(step, recipe, created=f"{day}T00:00:00+00:00"))
    found = why(plan, "polish")
    assert found.changes == (Change("learning_rate", "2e-05", "1e-06"),)


def test_added_removed_and_changed_problems_are_named(bench: Bench, rows: Rows):
    items = [{"id": f"p{i}", "question": f"What is {i}+{i}?", "answer": str(2 * i)} for i in range(6)]
    text = (
        "name: f\ndata: {mine: {source: jsonl, path: problems.jsonl, pools: {all: 1}}}\n"
        "steps:\n  base: {stage: pretrain}\n  rl: {stage: sparse_grpo, policy: step:base, spends: all, epochs: 1}\n"
    )
    path = bench.write(text, "f.yaml")
    rows(items)
    plan = make_plan(load_recipe(path), bench.root)
    ProblemList.of(plan.step("rl").problems()).save(_mkdir(bench.root / "work" / plan.step("rl").output))
    bench.publish(plan, "rl")
    rows([*items[1:5], {**items[5], "answer": "11"}, {"id": "new", "question": "What is 1+2?", "answer": "3"}])
    found = why(make_plan(load_recipe(path), bench.root), "rl")
    texts = [str(change) for change in found.changes]
    assert texts[0].startswith("spends: problems of all 6 (") and " → 6 (" in texts[0]
    assert texts[1:] == [
        "problems added  → 1 (new)",
        "problems removed  → 1 (p0)",
        "problems with another answer  → 1 (p5)",
    ]


def test_another_share_of_a_pool_is_told_with_counts(bench: Bench):
    done(bench)
    found = reason(bench, "polish", "data.problems.pools={first: 1/2, second: 1/2}")
    told = next(str(change) for _, step, change in found.roots() if step == "polish" and "second" in change.field)
    assert told.startswith("spends: problems of second 4 (") and "→ 8 (" in told


def test_the_prompt_the_stage_s_version_and_its_tokenizer_have_their_words(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    from reasoning_pipeline.data import tokenizer_making
    from reasoning_pipeline.workflows.reasoning.stages.pretrain import Config

    done(bench)
    monkeypatch.setattr(Config, "version", Config.version + 1)
    monkeypatch.setattr(tokenizer_making, "ARITHMETIC_TEMPLATE", "{{ other }}")
    found = reason(bench, "teacher_base", "prompt.suffix=Think.")
    assert {change.field for change in found.changes} == {
        "the stage's version",
        "the chat template its code makes",
        "prompt.suffix",
    }


def test_a_model_from_outside_says_which_file_changed(bench: Bench):
    folder = write_files(bench.folder / "model", OUTSIDE_FILES | {"tokenizer.json": "{}"})
    change = lambda recipe: recipe["steps"]["teacher_rl"].update(policy="./model")  # noqa: E731
    plan = bench.plan(change)
    bench.publish(plan, "teacher_rl")
    (folder / "tokenizer.json").write_text('{"a": 1}')
    found = why(bench.plan(change), "teacher_rl")
    assert roots(found) == [((), "teacher_rl", "policy (./model)  → its tokenizer.json changed")]


def test_what_gc_removed_is_told_as_removed(bench: Bench):
    plan = done(bench)
    folder = plan.registry.folder / plan.step("warmup").output
    (plan.registry.folder / REMOVED).mkdir()
    write_json(plan.registry.folder / REMOVED / f"{folder.name}.json", json.loads((folder / "record.json").read_text()))
    shutil.rmtree(folder)
    assert reason(bench, "warmup").state == "removed"
    # what was made from it is complete; what was made from it with another setting still finds what it was
    assert reason(bench, "distill").state == "complete"
    found = reason(bench, "distill", "steps.warmup.learning_rate=2e-3")
    assert roots(found) == [(("policy",), "warmup", "learning_rate 1e-06 → 0.002")]


def test_a_begun_step_would_go_on(bench: Bench):
    plan = bench.plan()
    (bench.root / "work" / plan.step("warmup").output / "checkpoints").mkdir(parents=True)
    assert reason(bench, "warmup").resumes and not reason(bench, "distill").resumes


def test_a_damaged_record_explains_nothing_and_stops_nothing(bench: Bench):
    plan = done(bench)
    (plan.registry.folder / plan.step("polish").output / "record.json").write_text("{")
    assert reason(bench, "teacher_base", "steps.teacher_base.seed=9").state == "differs"


def test_the_command_says_it_in_a_tree_and_a_summary(bench: Bench, capsys: pytest.CaptureFixture[str]):
    plan = done(bench)
    command = ["why", str(plan.recipe.path), "distill", "--root", str(bench.root)]
    assert main(command) == 0
    assert capsys.readouterr().out.strip() == f"distill is complete: {plan.step('distill').output}"
    assert main([*command, "--set", "steps.warmup.learning_rate=2e-3"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    names = {name: plan.step(name).output for name in plan.names()}
    assert lines == [
        f"distill is not what {names['distill']} is (small/distill, 2026-01-02)",
        f"└── its input policy: warmup is not what {names['warmup']} is (small/warmup, 2026-01-02)",
        "└── learning_rate 1e-06 → 0.002",
        "",
        "what changed by itself:",
        "warmup: learning_rate 1e-06 → 0.002   (through policy)",
    ]
    assert main(["why", str(plan.recipe.path), "distil", "--root", str(bench.root)]) == 2
    assert "no step is called 'distil'; did you mean \"distill\"?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, ["a.c 2 → 3"]),
        ({"a": None}, {}, ["a none → –"]),
        ({}, {"a": {"b": True}}, ["a.b – → true"]),
        ({"a": 1}, {"a": True}, ["a 1 → true"]),
        ({"a": ["x", "y"]}, {"a": ["y"]}, ["a [x, y] → [y]"]),
        ({"a": ""}, {"a": "two words"}, ['a "" → "two words"']),
        ({"a": "f" * 64}, {"a": "0" * 64}, ["a ffffffffffff → 000000000000"]),
    ],
)
def test_differences_are_leaves(old: Any, new: Any, told: list[str]):
    assert [str(change) for change in differences(old, new)] == told
