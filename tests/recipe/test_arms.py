"""Arms: small edits of a recipe, each a world of its own whose equal steps are shared."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest

from reasoning_pipeline.__main__ import main
from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.plan.graph import Plan
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.plan.selection import selected
from reasoning_pipeline.plan.sharing import savings
from reasoning_pipeline.recipe.reading import Recipe
from reasoning_pipeline.registry.record import distinct_labels
from tests.bench import Bench, Change

SFT = {"stage": "teacher_sft", "policy": "step:student_base", "rollouts": "step:rollouts", "steps": 8}
GRPO = {"stage": "sparse_grpo", "policy": "step:student_base", "spends": ["first", "second"], "epochs": 1}
BOTH = ["first", "second"]

ARMS: dict[str, dict[str, Any]] = {
    "direct": {"steps": {"grpo": GRPO}, "outcome": "grpo"},
    "raw_teacher": {"drop": ["teacher_rl", "polish"]},
    "no_warmup": {"drop": "warmup"},
    "no_warmup_matched": {"drop": "warmup", "steps": {"distill": {"steps": 8}}},
    "teacher_sft": {"drop": ["warmup", "distill"], "steps": {"sft": SFT, "polish": {"policy": "step:sft"}}},
    "forward_kl_only": {"drop": "distill"},
    "forward_kl_only_matched": {"drop": "distill", "steps": {"warmup": {"steps": 8}}},
    "no_stage3": {"drop": "polish"},
    "replay": {"steps": {"polish": {"spends": "first", "replay": True}}},
    "same_size_teacher": {"steps": {"teacher_rl": {"policy": "step:student_base"}}},
    "upstream": {
        "drop": "polish",
        "steps": {"teacher_rl": {"spends": BOTH}, "rollouts": {"prompts": BOTH}, "distill": {"prompts": BOTH}},
    },
}
"""The paper's arms over the small recipe."""


def with_arms(**arms: Any) -> Change:
    return lambda recipe: recipe.update(arms=arms or ARMS)


def plan_of(bench: Bench, *changes: Change, seeds: Iterable[int] = ()) -> Plan:
    return make_plan(bench.recipe(with_arms(), *changes), bench.root, tuple(seeds))


def own(plan: Plan, arm: str) -> list[str]:
    """Steps that this arm shares with nobody, evaluations left out."""
    return [step.name for step in plan.steps if step.arms == (arm,) and step.config.stage != "evaluate"]


# --- the paper's arms ------------------------------------------------------------------------------------------------

OWN = {
    "main": ["polish"],
    "direct": ["direct.grpo"],
    "raw_teacher": ["raw_teacher.rollouts", "raw_teacher.warmup", "raw_teacher.distill"],
    "no_warmup": ["no_warmup.distill", "no_warmup.polish"],
    "no_warmup_matched": ["no_warmup_matched.distill", "no_warmup_matched.polish"],
    "teacher_sft": ["teacher_sft.sft", "teacher_sft.polish"],
    "forward_kl_only": ["forward_kl_only.polish"],
    "forward_kl_only_matched": ["forward_kl_only_matched.warmup", "forward_kl_only_matched.polish"],
    "no_stage3": [],  # the main arm passes it
    "replay": ["replay.polish"],
    "same_size_teacher": [
        f"same_size_teacher.{name}" for name in ("teacher_rl", "rollouts", "warmup", "distill", "polish")
    ],
    "upstream": [f"upstream.{name}" for name in ("teacher_rl", "rollouts", "warmup", "distill")],
}

BOUGHT = {name: 16 for name in OWN} | {"raw_teacher": 0, "no_stage3": 12, "replay": 12}
"""Distinct labels behind each outcome: 12 in the first pool, 4 in the second."""


def test_each_arm_has_what_it_changes_for_itself_and_shares_the_rest(bench: Bench):
    plan = plan_of(bench)
    assert {arm.name: own(plan, arm.name) for arm in plan.arms} == OWN
    assert plan.step("student_base").arms == tuple(OWN)
    assert plan.step("warmup").arms == ("main", "forward_kl_only", "no_stage3", "replay")


def test_labels_are_counted_in_each_arm_s_own_lineage(bench: Bench):
    plan = plan_of(bench)
    lineages = {arm.name: plan.step(str(arm.outcome)).lineage for arm in plan.arms}
    assert {name: distinct_labels(spends) for name, spends in lineages.items()} == BOUGHT
    assert [s.labels for s in lineages["replay"] if s.replay] == [12]


def test_whoever_read_a_dropped_step_reads_what_it_would_have_started_from(bench: Bench):
    plan = plan_of(bench)
    inputs = {
        (name, entry.field): entry.step
        for name in ("no_warmup.distill", "raw_teacher.rollouts", "raw_teacher.distill", "forward_kl_only.polish")
        for entry in plan.step(name).inputs
    }
    assert inputs == {
        ("no_warmup.distill", "policy"): "student_base",
        ("no_warmup.distill", "teacher"): "teacher_rl",
        ("raw_teacher.rollouts", "teacher"): "teacher_base",
        ("raw_teacher.distill", "policy"): "raw_teacher.warmup",
        ("raw_teacher.distill", "teacher"): "teacher_base",
        ("forward_kl_only.polish", "policy"): "warmup",
    }


def test_an_added_step_runs_before_those_that_read_it(bench: Bench):
    names = plan_of(bench).names()
    assert names.index("teacher_sft.sft") < names.index("teacher_sft.polish")


def test_what_does_not_lead_to_the_outcome_is_no_part_of_an_arm(bench: Bench):
    arms = {arm.name: set(arm.steps) for arm in plan_of(bench).arms}
    assert arms["direct"] == {"student_base", "grpo"}
    assert "rollouts" not in arms["no_warmup"]  # only the warmup learned from them
    assert "teacher_base" not in arms["same_size_teacher"]


def test_an_arm_is_the_same_work_as_a_recipe_written_out(bench: Bench):
    def written(recipe: dict) -> None:
        recipe["steps"].pop("warmup"), recipe["steps"].pop("rollouts")
        recipe["steps"]["distill"]["policy"] = "step:student_base"

    alone, arm = bench.plan(written), plan_of(bench)
    for name in ("distill", "polish", "polish.evaluate"):
        assert alone.step(name).fingerprint == arm.step(f"no_warmup.{name}").fingerprint


def test_arms_change_nothing_about_the_main_arm(bench: Bench):
    before, after = bench.plan(), plan_of(bench).of_arms(["main"])
    assert [(s.name, s.fingerprint) for s in before.steps] == [(s.name, s.fingerprint) for s in after.steps]


# --- evaluations -----------------------------------------------------------------------------------------------------


def test_of_an_arm_its_outcome_is_scored_right_behind_it(bench: Bench):
    plan = plan_of(bench, lambda r: r["evaluate"].update(of=["warmup"]))
    scored = {name.removesuffix(".evaluate") for name in plan.names() if name.endswith(".evaluate")}
    assert scored == {arm.outcome for arm in plan.arms} | {"warmup"}
    names = plan.names()
    for name in scored:
        assert names.index(f"{name}.evaluate") == names.index(name) + 1
    assert plan.step("distill.evaluate").arms == ("no_stage3",)


def test_outcomes_only(bench: Bench):
    plan = plan_of(bench, lambda r: r["evaluate"].update(of=[]))
    assert sum(name.endswith(".evaluate") for name in plan.names()) == len(ARMS) + 1


def test_the_main_arm_may_name_its_outcome(bench: Bench):
    plan = plan_of(bench, lambda r: r.update(outcome="distill", arms={"no_warmup": {"drop": "warmup"}}))
    assert [arm.outcome for arm in plan.arms] == ["distill", "no_warmup.distill"]


# --- seeds -----------------------------------------------------------------------------------------------------------


def test_seeds_multiply_what_a_seed_changes_and_share_what_it_does_not(bench: Bench):
    def fixed(recipe: dict) -> None:
        recipe["steps"]["teacher_base"]["seed"] = 7
        recipe["data"]["problems"]["split"] = "test"  # the one split that no seed draws anew

    plan = plan_of(bench, fixed, seeds=(0, 1))
    assert {("main", 0), ("main", 1)} <= set(plan.step("teacher_base").users)
    assert "teacher_base@1" not in plan.names()
    assert plan.step("student_base@1").fingerprint != plan.step("student_base").fingerprint
    one = {s.name: s for s in plan_of(bench, fixed, lambda r: r.update(seed=1)).steps}
    for step in plan.steps:  # the second seed is the recipe with this seed
        if "@1" in step.name:
            assert one[step.name.replace("@1", "")].fingerprint == step.fingerprint


def test_a_file_is_read_once_for_all_arms_and_seeds(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    from reasoning_pipeline.data import pools

    reads: list[str] = []
    original = pools.load_data
    monkeypatch.setattr(pools, "load_data", lambda config, **k: reads.append(config.path) or original(config, **k))
    lines = [f'{{"question": "What is {i}+{i}?", "answer": "{2 * i}"}}' for i in range(16)]
    bench.write("\n".join(lines), "own.jsonl")

    def from_file(recipe: dict) -> None:
        pools = {"first": "3/4", "second": "1/4"}
        recipe["data"]["problems"] = {"source": "jsonl", "path": "own.jsonl", "pools": pools}

    plan = plan_of(bench, from_file, seeds=range(5))
    plan.refreshed()
    assert len(plan.seeds) == 5 and reads == ["own.jsonl"]
    assert {step.problems()[0].id for step in plan.steps if step.spends and step.spends[0].pool == "first"} == {
        plan.step("teacher_rl").problems()[0].id
    }


def test_declared_seeds_are_what_all_means(bench: Bench, capsys: pytest.CaptureFixture[str]):
    path = bench.changed(with_arms(), lambda r: r.update(seeds=[0, 3]))
    assert main(["plan", str(path), "--root", str(bench.root), "--seeds", "all"]) == 0
    assert "seeds 0, 3" in capsys.readouterr().out
    path = bench.changed(with_arms())
    assert main(["plan", str(path), "--root", str(bench.root), "--seeds", "all"]) == 2
    assert "--seeds all: the recipe has no list `seeds`" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["plan", str(path), "--seeds", "0,x"])
    assert "'0,x': expected numbers such as 0,1,2, or all" in capsys.readouterr().err


# --- names -----------------------------------------------------------------------------------------------------------


def test_every_name_is_its_own_and_a_file_s(bench: Bench):
    names = plan_of(bench, seeds=(0, 1, 2)).names()
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_.@-]+", name) for name in names)


def test_only_and_until_take_names_of_any_arm(bench: Bench):
    plan = plan_of(bench)
    assert [s.name for s in selected(plan, "no_warmup.distill", None)] == ["no_warmup.distill"]
    until = [s.name for s in selected(plan, None, "no_warmup.distill")]
    assert until == ["teacher_base", "student_base", "teacher_rl", "no_warmup.distill"]
    with pytest.raises(RecipeError, match=r"'no_warmup\.distil'; did you mean \"no_warmup\.distill\"\?"):
        selected(plan, "no_warmup.distil", None)


def test_a_part_of_the_arms_is_what_they_need(bench: Bench):
    part = plan_of(bench).of_arms(["direct", "no_warmup"])
    assert [arm.name for arm in part.arms] == ["direct", "no_warmup"]
    assert [s.name for s in part.steps if s.config.stage != "evaluate"] == [
        "teacher_base",
        "student_base",
        "teacher_rl",
        "direct.grpo",
        "no_warmup.distill",
        "no_warmup.polish",
    ]
    assert part.step("student_base").arms == ("direct", "no_warmup")
    with pytest.raises(RecipeError, match=r"no arm is called 'no_warmpu'; did you mean \"no_warmup\"\? \(arms: main,"):
        plan_of(bench).of_arms(["no_warmpu"])


def test_completeness_is_looked_up_again_without_planning_again(bench: Bench):
    plan = plan_of(bench)
    bench.publish(plan, "teacher_base", "no_warmup.distill")
    assert not any(step.complete for step in plan.steps)
    assert [s.name for s in plan.refreshed().steps if s.complete] == ["teacher_base", "no_warmup.distill"]
    assert [s.name for s in plan.refreshed(only=["teacher_base"]).steps if s.complete] == ["teacher_base"]


# --- what sharing saves ----------------------------------------------------------------------------------------------


def test_work_saved_is_counted_against_every_arm_alone(bench: Bench):
    # main: six checkpoints, a rollout set, six evaluations; no_stage3: six of these steps and distill's evaluation
    plan = bench.plan(with_arms(no_stage3={"drop": "polish"}))
    steps, rollouts, *_ = savings(plan)
    assert (steps.needed, steps.alone) == (13, 13 + 6 + 1)
    assert steps.share == pytest.approx(1 - 13 / 20)
    # 12 problems x 8 rollouts of teacher_rl, 12 x 8 cached, 4 x 64 of warmup and of distill, 4 x 8 of polish;
    # an evaluation: 500 problems x 2 samples
    assert rollouts.needed == 96 + 96 + 256 + 256 + 32 + 6 * 1000
    assert rollouts.alone - rollouts.needed == 96 + 96 + 256 + 256 + 1000


def test_seconds_count_once_everything_is_measured(bench: Bench):
    change = with_arms(no_stage3={"drop": "polish"})
    plan = bench.plan(change)
    bench.publish(plan, *plan.names()[:-1], provenance={"wall_seconds": 10.0})
    assert [s.unit for s in savings(bench.plan(change))] == ["steps", "rollouts"]
    bench.publish(plan, plan.names()[-1], provenance={"wall_seconds": 10.0})
    seconds = savings(bench.plan(change))[-1]
    assert (seconds.unit, seconds.needed, seconds.alone) == ("seconds", 130, 200)


# --- mistakes --------------------------------------------------------------------------------------------------------

ONE_PROBLEM: dict[str, tuple[Any, str]] = {
    "unknown key": ({"dorp": "warmup"}, 'arms.x.dorp: unknown key; did you mean "drop"?'),
    "no mapping": ("no_warmup", "arms.x: expected drop, steps or outcome, found str"),
    "drop of nothing": ({"drop": "warmpu"}, "arms.x.drop: no step is called 'warmpu'; did you mean \"warmup\"?"),
    "drop of a start": (
        {"drop": "student_base"},
        "arms.x.drop: 'warmup' reads 'student_base', which started from no policy that could stand in its place; "
        "say in `steps` what 'warmup' reads instead",
    ),
    "drop and change": (
        {"drop": "warmup", "steps": {"warmup": {"steps": 3}}},
        "arms.x.steps.warmup: the arm drops this step",
    ),
    "change of nothing": (
        {"steps": {"polsh": {"epochs": 2}}},
        'arms.x.steps.polsh: the recipe has no such step; did you mean "polish"?',
    ),
    "a field that does not exist": (
        {"steps": {"polish": {"epoch": 2}}},
        'arms.x.steps.polish.epoch: unknown key; did you mean "epochs"?',
    ),
    "a reference to nothing": (
        {"steps": {"polish": {"policy": "step:distil"}}},
        "arms.x.steps.polish: 'step:distil' is no step of this arm; did you mean \"step:distill\"?",
    ),
    "a reference to a step that the arm drops": (
        {"drop": "rollouts"},
        "arms.x.drop: 'warmup' reads 'rollouts', which started from no policy",
    ),
    "a pool twice in its lineage": (
        {"steps": {"teacher_rl": {"spends": BOTH}}},
        "arms.x.steps.polish.spends: the pool 'second' was already spent by 'teacher_rl'",
    ),
    "an unused change": (
        {"drop": "warmup", "steps": {"rollouts": {"rollouts_per_prompt": 2}}},
        "arms.x.steps.rollouts: nothing that leads to the arm's outcome 'polish' reads this step",
    ),
    "an unused step": (
        {"steps": {"grpo": GRPO}},
        "arms.x.steps.grpo: nothing that leads to the arm's outcome 'polish' reads this step; let a step read it, or "
        "say `outcome: grpo`",
    ),
    "no such outcome": ({"outcome": "polsh"}, "arms.x.outcome: 'polsh' is no step; did you mean \"polish\"?"),
    "a dropped outcome": ({"drop": "polish", "outcome": "polish"}, "arms.x.outcome: 'polish' is dropped"),
    "an outcome without weights": (
        {"outcome": "rollouts"},
        "arms.x.outcome: 'rollouts' publishes rollouts, not a checkpoint",
    ),
    "a circle": (
        {"steps": {"warmup": {"policy": "step:distill"}}},
        "arms.x: 'warmup', 'distill', 'polish' read one another in a circle",
    ),
}


@pytest.mark.parametrize("case", ONE_PROBLEM)
def test_a_mistake_names_the_arm_and_what_to_do(bench: Bench, case: str):
    edit, sentence = ONE_PROBLEM[case]
    with pytest.raises(RecipeError) as error:
        bench.recipe(with_arms(x=edit))
    assert error.value.problems[0].startswith(sentence), error.value.problems


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("warmup", "arms.warmup: a step has this name; choose another"),
        ("main", "arms.main: 'main' means the recipe itself; choose another name"),
        ("all", "arms.all: 'all' means every arm; choose another name"),
        ("a.b", "arms.a.b: an arm's name is made of letters, digits, '_' and '-'"),
    ],
)
def test_a_name_that_would_be_confused_is_refused(bench: Bench, name: str, sentence: str):
    with pytest.raises(RecipeError) as error:
        bench.recipe(with_arms(**{name: {"drop": "warmup"}}))
    assert error.value.problems == [sentence]


def test_a_mistake_of_the_recipe_is_said_once_and_not_for_every_arm(bench: Bench):
    with pytest.raises(RecipeError) as error:
        bench.recipe(with_arms(), lambda r: r["steps"]["polish"].update(policy="step:distil"))
    assert len([p for p in error.value.problems if "distil'" in p]) == 1


def arm_of(recipe: Recipe, name: str) -> dict[str, Any]:
    return {step: config.model_dump() for step, config in recipe.arms[name].steps.items()}


def test_another_stage_replaces_a_step_whole(bench: Bench):
    recipe = bench.recipe(with_arms(sft={"drop": "distill", "steps": {"warmup": SFT}}))
    assert arm_of(recipe, "sft")["warmup"]["stage"] == "teacher_sft"


def test_set_reaches_the_main_arm_and_all_others_or_one_arm_alone(bench: Bench):
    recipe = bench.recipe(with_arms(), overrides=("steps.polish.epochs=2", "arms.replay.steps.polish.epochs=3"))
    epochs = {name: arm_of(recipe, name)["polish"]["epochs"] for name in ("no_warmup", "replay")}
    assert epochs == {"no_warmup": 2, "replay": 3}
