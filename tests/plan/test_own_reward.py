"""A reward of one's own in a recipe: what it does to identities, and what is told before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.workflows.reasoning.gates.measuring import MeasureGain
from tests.bench import Bench


def fingerprint(bench: Bench, step: str = "teacher_rl", **fields: Any) -> str:
    return bench.plan(lambda r: r["steps"][step].update(fields)).step(step).fingerprint


def test_the_default_leaves_every_identity_as_it_was_and_any_other_reward_changes_it(bench: Bench) -> None:
    plain = fingerprint(bench)
    assert fingerprint(bench, reward="math") == fingerprint(bench, reward=[{"kind": "math"}]) == plain
    assert fingerprint(bench, overlong_buffer=0) == plain
    others = [
        fingerprint(bench, reward="exact"),
        fingerprint(bench, reward={"kind": "exact", "where": "last_line"}),
        fingerprint(bench, reward=["math", {"kind": "format", "weight": 0.1}]),
        fingerprint(bench, reward="json:loads"),
        fingerprint(bench, overlong_buffer=8),
    ]
    assert len({plain, *others}) == 6


def test_a_functions_file_is_identity_by_what_it_says_and_not_by_where_it_lies(bench: Bench) -> None:
    bench.write("def paid(t, c, f): ...\n", "my_rewards.py")
    before = fingerprint(bench, reward="my_rewards.py:paid")
    bench.write("def paid(t, c, f): ...\n", "elsewhere/my_rewards.py")
    assert fingerprint(bench, reward="elsewhere/my_rewards.py:paid") == before
    bench.write("def paid(t, c, f): return 1\n", "my_rewards.py")
    assert fingerprint(bench, reward="my_rewards.py:paid") != before
    bench.write("x = 1\n", "helper.py")
    more = {"reward": "my_rewards.py:paid", "reward_files": {"helper": "helper.py"}}
    with_helper = fingerprint(bench, **more)
    bench.write("x = 2\n", "helper.py")
    assert fingerprint(bench, **more) != with_helper


@pytest.mark.parametrize(
    ("reward", "said"),
    [
        ("my_rewards.py:payd", "steps.teacher_rl.reward: my_rewards.py defines no 'payd'; did you mean \"paid\"?"),
        ("missing.py:paid", "steps.teacher_rl.reward: missing.py: No such file"),
        ("broken.py:paid", "steps.teacher_rl.reward: broken.py:1: not valid Python"),
        ("no_such_module:paid", "no module 'no_such_module' can be imported here"),
        ("maths", "steps.teacher_rl.reward: no reward is called 'maths'; did you mean \"math\"?"),
    ],
)
def test_mistakes_are_told_before_anything_runs_and_nothing_is_executed(bench: Bench, reward: str, said: str) -> None:
    bench.write("raise SystemExit('executed')\ndef paid(t, c, f): ...\n", "my_rewards.py")
    bench.write("def paid(:\n", "broken.py")
    with pytest.raises(RecipeError) as caught:
        fingerprint(bench, reward=reward)
    assert said in str(caught.value)
    fingerprint(bench, reward="my_rewards.py:paid")


def test_columns_that_rewards_are_handed_are_identity_and_others_are_not(bench: Bench) -> None:
    def planned(level: int, tests: str, **fields: Any) -> str:
        rows = (f'{{"question": "{i}?", "answer": "{i}", "level": {level}, "tests": "{tests}"}}\n' for i in range(8))
        bench.write("".join(rows), "rows.jsonl")
        data = {"source": "file", "path": "rows.jsonl", "pools": {"first": "3/4", "second": "1/4"}, **fields}
        return bench.plan(lambda r: r["data"].update(problems=data)).step("teacher_rl").fingerprint

    assert planned(1, "a") == planned(2, "b")
    assert planned(1, "a", keep=["tests"]) == planned(2, "a", keep=["tests"]) != planned(1, "b", keep=["tests"])


def test_the_gate_judges_by_the_reward_that_was_trained(bench: Bench) -> None:
    plan = bench.plan(
        lambda r: r.update(gates={"c1": {"problems": "second"}}),
        lambda r: r["steps"]["teacher_rl"].update(reward="exact"),
        lambda r: r["steps"].pop("polish"),
    )
    (gate,) = (step.config for step in plan.steps if isinstance(step.config, MeasureGain))
    assert gate.reward[0].kind == "exact"
