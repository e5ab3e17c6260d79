"""C1 and C2 in a plan: where they are measured, what a threshold means, what a recipe may not ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.estimates.tasks import work_of
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.plan.graph import Plan
from reasoning_pipeline.plan.judging import GateFailed, enforce, judgements, overtakes
from reasoning_pipeline.plan.selection import selected
from reasoning_pipeline.run.process import launched, step_command
from tests.bench import Bench, Change

BOTH = {"c1": {"problems": "second"}, "c2": {"prompts": "first", "rollouts": 8}}


def with_gates(c1: dict[str, Any] | None = None, c2: dict[str, Any] | None = None) -> Change:
    wanted = {"c1": {**BOTH["c1"], **(c1 or {})}, "c2": {**BOTH["c2"], **(c2 or {})}}
    return lambda recipe: recipe.update(gates=wanted)


def gain(value: float | None) -> dict[str, Any]:
    ends = None if value is None else [value - 0.1, value + 0.1]
    return {"gain": value, "gain_interval": ends, "problems": 4}


def distance(kl: float, overlap: float = 0.8) -> dict[str, Any]:
    return {"reverse_kl": kl, "reverse_kl_interval": [kl / 2, kl * 2], "top_k_overlap": overlap, "top_k": 16}


def measured(bench: Bench, plan: Plan, **results: dict[str, Any]) -> Plan:
    """The plan after these measurements: `warmup=distance(0.2)`, `teacher_rl=gain(0.5)`."""
    for student, result in results.items():
        name = f"{student}.{'c1' if 'gain' in result else 'c2'}"
        bench.publish(plan, name, files={"rollouts.jsonl": ""}, result=result)
    return plan.refreshed()


def test_measurements_stand_where_the_theory_asks_for_them(bench: Bench) -> None:
    names = [name for name in bench.plan(with_gates()).names() if not name.endswith(".evaluate")]
    assert names == [
        "teacher_base", "student_base", "teacher_rl", "teacher_rl.c1", "rollouts", "student_base.c2", "warmup",
        "warmup.c2", "distill", "distill.c2", "polish",
    ]  # fmt: skip


def test_thresholds_are_no_part_of_an_identity_and_settings_are(bench: Bench) -> None:
    def fingerprints(*changes: Change) -> dict[str, str]:
        return {step.name: step.fingerprint for step in bench.plan(*changes).steps}

    plain = fingerprints(with_gates())
    assert fingerprints(with_gates({"min_gain": 0.3, "on_failure": "stop"}, {"max_reverse_kl": 0.01})) == plain
    more = fingerprints(with_gates(c2={"rollouts": 9}))
    assert {name for name in plain if plain[name] != more[name]} == {"student_base.c2", "warmup.c2", "distill.c2"}
    without = fingerprints()
    assert without == {name: plain[name] for name in without}, "asking for gates changes nothing that is trained"


def test_labels_that_only_measure_are_recorded_and_not_counted_as_bought(bench: Bench) -> None:
    plan = bench.plan(with_gates())
    (use,) = plan.step("teacher_rl.c1").asks
    assert (use.pool, use.labels, use.measured) == ("second", 0, 4)
    assert len(plan.step("teacher_rl.c1").problems()) == 4
    assert "second" not in {spend.pool for spend in plan.step("distill").lineage}, "nothing learned from them"


def test_c2_is_asked_where_on_policy_distillation_begins_and_only_shown_elsewhere(bench: Bench) -> None:
    plan = measured(bench, bench.plan(with_gates()), student_base=distance(0.3), warmup=distance(0.2),
                    distill=distance(0.02), teacher_rl=gain(0.5))  # fmt: skip
    assert {j.step: j.held for j in judgements(plan)} == {
        "teacher_rl.c1": True,
        "student_base.c2": None,
        "warmup.c2": False,
        "distill.c2": None,
    }
    (failed,) = [j for j in judgements(plan) if j.held is False]
    assert "0.2 nats per token [0.1, 0.4]" in failed.sentence and "at most 0.1 is asked" in failed.sentence
    enforce(plan)  # a warning ends nothing


def test_an_arm_without_warmup_is_asked_at_its_start(bench: Bench) -> None:
    def without_warmup(recipe: dict[str, Any]) -> None:
        recipe["steps"].pop("warmup")
        recipe["steps"]["distill"]["policy"] = "step:student_base"

    plan = measured(bench, bench.plan(with_gates(), without_warmup), student_base=distance(0.3))
    assert [(j.step, j.held) for j in judgements(plan)] == [("student_base.c2", False)]


@pytest.mark.parametrize(
    ("kl", "overlap", "held"), [(0.1, 0.5, True), (0.1001, 0.5, False), (0.01, 0.49, False), (0.01, 0.5, True)]
)
def test_both_thresholds_must_hold(bench: Bench, kl: float, overlap: float, held: bool) -> None:
    change = with_gates(c2={"max_reverse_kl": 0.1, "min_overlap": 0.5})
    plan = measured(bench, bench.plan(change), warmup=distance(kl, overlap))
    assert [j.held for j in judgements(plan)] == [held]


def test_stop_ends_the_run_with_number_threshold_and_remedy(bench: Bench) -> None:
    plan = measured(bench, bench.plan(with_gates({"min_gain": 0.2, "on_failure": "stop"})), teacher_rl=gain(0.05))
    with pytest.raises(GateFailed) as failure:
        enforce(plan)
    text = str(failure.value)
    assert "C1 does not hold for teacher_rl over teacher_base: gain +5.0 points [-5.0, +15.0]" in text
    assert "at least +20.0 is asked" in text and "on_failure: warn" in text and failure.value.exit_status == 1


def test_what_could_not_be_measured_is_said_and_ends_nothing(bench: Bench) -> None:
    plan = measured(bench, bench.plan(with_gates({"on_failure": "stop"})), teacher_rl=gain(None))
    enforce(plan)
    assert [(j.held, "could not be measured" in j.sentence) for j in judgements(plan)] == [(None, True)]


def test_nothing_overtakes_a_measurement_that_may_stop_the_run(bench: Bench) -> None:
    stopping, warning = bench.plan(with_gates({"on_failure": "stop"})), bench.plan(with_gates())
    for plan, expected in ((stopping, True), (warning, False)):
        left = [step for step in plan.steps if step.name in ("teacher_rl.c1", "rollouts")]
        assert overtakes(plan, plan.step("rollouts"), left) is expected
        assert not overtakes(plan, plan.step("teacher_rl.c1"), left)


def test_a_run_up_to_a_step_measures_on_the_way(bench: Bench) -> None:
    plan = bench.plan(with_gates())
    names = [step.name for step in selected(plan, None, "distill")]
    assert names[-1] == "distill.c2" and "teacher_rl.c1" in names and "warmup.c2" in names


def test_extend_gives_the_warmup_a_larger_budget_and_an_end(bench: Bench) -> None:
    extend = {"on_failure": "extend", "extend_steps": 40, "check_every": 10, "max_reverse_kl": 0.05}
    warmup: Any = bench.plan(with_gates(c2=extend)).step("warmup").config
    assert warmup.steps == 44
    assert (warmup.until.after, warmup.until.check_every, warmup.until.reverse_kl) == (4, 10, 0.05)
    assert warmup.generator == "policy", "a server for the student stands ready"
    plain: Any = bench.plan(with_gates()).step("warmup").config
    assert (plain.steps, plain.until, plain.generator) == (4, None, None)


def changed_warmup(**fields: Any) -> Change:
    return lambda recipe: recipe["steps"]["warmup"].update(fields)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ((with_gates({"problems": "first"}),), "gates.c1.problems: the pool 'first' is spent by 'teacher_rl'"),
        ((with_gates({"problems": "secnd"}),), "no pool is called 'secnd'; did you mean \"second\"?"),
        ((with_gates({"problems": "problems"}),), "a whole data set is a pool of share 1"),
        ((with_gates(c2={"prompts": "frist"}),), "gates.c2.prompts: no pool is called 'frist'"),
        ((with_gates(c2={"on_failure": "extend"}),), "`on_failure: extend` and `extend_steps` go together"),
        (
            (with_gates(c2={"on_failure": "extend", "extend_steps": 9}), changed_warmup(schedule="cosine")),
            "steps.warmup.schedule: must be `constant`",
        ),
        (
            (with_gates(c2={"on_failure": "extend", "extend_steps": 9}), changed_warmup(steps=None, epochs=1)),
            "steps.warmup.steps: `gates.c2.on_failure: extend` counts from a number of steps",
        ),
        ((changed_warmup(until={"reverse_kl": 0.1}, schedule="cosine"),), "`until` needs `schedule: constant`"),
        ((changed_warmup(until={}),), "give `reverse_kl`, `top_k_overlap`, or both"),
    ],
)
def test_mistakes_are_found_when_the_recipe_is_read(bench: Bench, changes: tuple[Change, ...], said: str) -> None:
    with pytest.raises(RecipeError) as failure:
        bench.plan(*changes)
    assert said in str(failure.value)


def test_a_pool_that_is_spent_later_may_measure(bench: Bench) -> None:
    bench.plan(with_gates({"problems": "second"}))  # polish spends it, and the teacher does not come from polish


def test_an_arm_whose_teacher_spends_the_measuring_pool_is_named(bench: Bench) -> None:
    def upstream(recipe: dict[str, Any]) -> None:
        recipe["arms"] = {"upstream": {"drop": "polish", "steps": {"teacher_rl": {"spends": ["first", "second"]}}}}

    with pytest.raises(RecipeError) as failure:
        bench.plan(with_gates({"problems": "second"}), upstream)
    assert "arms.upstream.gates.c1.problems: the pool 'second' is spent by 'teacher_rl'" in str(failure.value)


def test_c2_starts_like_a_training_and_c1_only_talks_to_servers(bench: Bench) -> None:
    plan = bench.plan(with_gates())
    profile = HardwareProfile(device="cuda", processes=2, accelerate_config="fsdp2.yaml")
    started = {name: step_command(plan.step(name), profile, Path("context.json")) for name in ("warmup.c2", "warmup")}
    # two models would otherwise meet on one device, where a server may hold nine tenths
    assert started["warmup.c2"] == started["warmup"] and "accelerate.commands.launch" in started["warmup.c2"]
    assert not launched(plan.step("teacher_rl.c1"), profile)


def test_a_plan_counts_what_gates_write(bench: Bench) -> None:
    plan = bench.plan(with_gates(c1={"samples": 3, "limit": 3}))
    distance, gain = (work_of(plan, plan.step(name)) for name in ("warmup.c2", "teacher_rl.c1"))
    assert distance is not None and distance.compares and (distance.rows, distance.teacher) == (8, "teacher")
    assert gain is not None and gain.rows == 2 * 3 * 3, "the teacher and its start answer three problems three times"
