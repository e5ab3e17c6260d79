"""A recipe is refused before anything runs, with everything wrong in it, each with its place and a suggestion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.__main__ import main
from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.recipe.reading import Recipe, lineage, load_recipe
from reasoning_pipeline.recipe.stage import Spends
from reasoning_pipeline.recipe.workflows import stage_kinds
from reasoning_pipeline.workflows.reasoning.evaluation import evaluation_of
from tests.bench import PROJECT, RECIPE, Bench, Change, command


def problems(bench: Bench, *changes: Change, overrides: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(RecipeError) as error:
        bench.recipe(*changes, overrides=overrides)
    return error.value.problems


def in_step(name: str, **fields: Any) -> Change:
    return lambda recipe: recipe["steps"][name].update(fields)


def in_data(**fields: Any) -> Change:
    return lambda recipe: recipe["data"]["problems"].update(fields)


def test_the_recipe_all_tests_start_from_is_sound(bench: Bench):
    recipe = bench.recipe()
    assert list(recipe.steps)[:2] == ["teacher_base", "student_base"]
    assert recipe.parents("warmup") == ["student_base", "teacher_rl", "rollouts"]
    assert lineage(recipe, "warmup") == ["student_base", "teacher_base", "teacher_rl", "rollouts"]


# --- one problem each ------------------------------------------------------------------------------------------------

ONE_PROBLEM = {
    "unknown key of a step": (
        in_step("polish", learnig_rate=1e-5),
        'steps.polish.learnig_rate: unknown key; did you mean "learning_rate"?',
    ),
    "unknown key below a step": (
        in_step("student_base", architecture={"hiden_size": 64}),
        'steps.student_base.architecture.hiden_size: unknown key; did you mean "hidden_size"?',
    ),
    "unknown key at the top": (lambda r: r.update(evalute={}), 'evalute: unknown key; did you mean "evaluate"?'),
    "unknown key of a data set": (in_data(splt="test"), 'data.problems.splt: unknown key; did you mean "split"?'),
    "unknown key like nothing": (in_step("polish", qqq=1), "steps.polish.qqq: unknown key"),
    "the recipe's own place": (lambda r: r.update(path="x"), "path: unknown key"),
    "wrong type": (
        in_step("polish", group_size="eight"),
        "steps.polish.group_size: input should be a valid integer, unable to parse string as an integer (got 'eight')",
    ),
    "too small": (
        in_step("polish", group_size=1),
        "steps.polish.group_size: input should be greater than or equal to 2 (got 1)",
    ),
    "missing field": (lambda r: r["steps"]["polish"].pop("policy"), "steps.polish.policy: missing"),
    "a step that is no mapping": (
        lambda r: r["steps"].update(polish="extra_rl"),
        "steps.polish: expected fields, found str",
    ),
    "steps that are a list": (lambda r: r.update(steps=[1], evaluate=None), "steps: expected a mapping of step names"),
    "no steps": (lambda r: r.update(steps={}), "steps: a recipe needs at least one step"),
    "a name that would hide an evaluation": (
        lambda r: r["steps"].update({"polish.evaluate": r["steps"].pop("polish")}),
        "steps.polish.evaluate: a step's name is made of letters, digits, '_' and '-'",
    ),
    "a name that is a folder of the root": (
        lambda r: r.update(name="registry"),
        "name: the root keeps a folder of this name for itself (got 'registry')",
    ),
    "reference to nothing": (
        in_step("distill", policy="step:warmpu"),
        "steps.distill.policy: 'step:warmpu' is not a step above it; did you mean \"step:warmup\"?",
    ),
    "reference to a step below": (
        in_step("teacher_rl", policy="step:distill"),
        "steps.teacher_rl.policy: 'step:distill' is not above this step; move it up",
    ),
    "reference to itself": (
        in_step("polish", policy="step:polish"),
        "steps.polish.policy: 'step:polish' is this step itself",
    ),
    "reference without its prefix": (
        in_step("distill", policy="warmup"),
        "steps.distill.policy: 'warmup' names a step; write \"step:warmup\"",
    ),
    "rollouts where a checkpoint is needed": (
        in_step("distill", policy="step:rollouts"),
        "steps.distill.policy: 'step:rollouts' publishes rollouts, but checkpoint is needed here",
    ),
    "a checkpoint where rollouts are needed": (
        in_step("warmup", rollouts="step:teacher_rl"),
        "steps.warmup.rollouts: 'step:teacher_rl' publishes checkpoint, but rollouts is needed here",
    ),
    "unknown pool to spend": (
        in_step("polish", spends="secnd"),
        "steps.polish.spends: no pool is called 'secnd'; did you mean \"second\"?",
    ),
    "unknown pool to read": (
        in_step("distill", prompts=["second", "fisrt"]),
        "steps.distill.prompts: no pool is called 'fisrt'; did you mean \"first\"?",
    ),
    "a pool twice in one step": (
        in_step("polish", spends=["second", "second"]),
        "steps.polish.spends: names the pool 'second' 2 times",
    ),
    "a pool twice in a lineage": (
        in_step("polish", spends=["second", "first"]),
        "steps.polish.spends: the pool 'first' was already spent by 'teacher_rl', from which this step comes; "
        "choose a pool not spent yet, or say `replay: true`",
    ),
    "shares over the whole": (
        in_data(pools={"first": "3/4", "second": "1/2"}),
        "data.problems: the pools' shares add up to 5/4, more than the whole",
    ),
    "a share of nothing": (in_data(pools={"first": 1, "second": 0}), "data.problems: a pool's share must be above 0"),
    "a share that is no number": (
        in_data(pools={"first": "most", "second": "1/4"}),
        "data.problems.pools: the share of 'first' must be a number or a fraction such as 3/4",
    ),
    "a share that divides by zero": (
        in_data(pools={"first": "1/0", "second": "1/4"}),
        "data.problems.pools: the share of 'first' must be a number or a fraction such as 3/4",
    ),
    "one pool in two data sets": (
        lambda r: r["data"].update(more={"source": "arithmetic", "count": 8, "pools": {"second": 1}}),
        "data: the pool 'second' is declared twice",
    ),
    "a source without what it needs": (
        lambda r: r["data"].update(more={"source": "jsonl"}),
        "data.more: source 'jsonl' needs `path`",
    ),
    "an unknown source": (
        lambda r: r["data"].update(more={"source": "csv"}),
        "data.more.source: input should be 'arithmetic', 'word_problems', 'jsonl', 'file' or 'hub' (got 'csv')",
    ),
    "an unknown split": (
        in_data(split="tests"),
        "data.problems: no split is called 'tests'; did you mean \"test\"?",
    ),
    "more problems than there are": (
        in_data(count=10**7),
        "data.problems: the arithmetic world has at most 100,000 problems (got 10,000,000)",
    ),
    "an unknown data set": (
        in_step("student_base", corpus="prompts", data="problem"),
        "steps.student_base.data: no data set is called 'problem'; did you mean \"problems\"?",
    ),
    "evaluation of nothing": (
        lambda r: r["evaluate"].update(of=["distil"]),
        "evaluate.of: no step is called 'distil'; did you mean \"distill\"?",
    ),
    "evaluation of a rollout set": (
        lambda r: r["evaluate"].update(of=["rollouts"]),
        "evaluate.of: 'rollouts' publishes rollouts, and only checkpoints are scored",
    ),
}


@pytest.mark.parametrize("case", ONE_PROBLEM)
def test_one_mistake_gives_one_sentence_with_its_place(bench: Bench, case: str):
    change, sentence = ONE_PROBLEM[case]
    (found,) = problems(bench, change)
    assert found.startswith(sentence)
    assert found.removeprefix(sentence) == "" or found.removeprefix(sentence).startswith(" (got ")


def test_an_unknown_stage_lists_those_that_exist(bench: Bench):
    (found,) = problems(bench, in_step("polish", stage="extra_lr"))
    listed = ", ".join(stage_kinds())
    assert found == f"steps.polish.stage: no stage is called 'extra_lr'; did you mean \"extra_rl\"? (stages: {listed})"
    (found,) = problems(bench, lambda r: r["steps"]["polish"].pop("stage"))
    assert found == f"steps.polish.stage: which stage? (stages: {listed})"


def test_an_unknown_suite_is_found_before_anything_is_trained(bench: Bench):
    (found,) = problems(bench, lambda r: r["evaluate"].update(suites=["arithmetc", "math500"]))
    assert found.startswith(
        "evaluate.suites: no suite is called 'arithmetc'; did you mean \"arithmetic\"? (suites: aime24,"
    )
    own = evaluation_of(bench.recipe(lambda r: r["evaluate"].update(suites="own/mine.jsonl")))
    assert own is not None and (own.suites, own.data) == (("mine",), {"mine": "own/mine.jsonl"})


def test_an_own_file_may_not_go_by_the_name_of_a_suite_that_ships(bench: Bench):
    # its scores would be taken for the benchmark's; as a declared copy of it, its rows are checked against the pin
    (found,) = problems(bench, lambda r: r["evaluate"].update(suites=["aime24.jsonl"]))
    assert 'aime24.jsonl: the suite "aime24" ships' in found and "`data: {aime24: aime24.jsonl}`" in found


def test_a_file_of_one_s_own_is_part_of_what_an_evaluation_is(bench: Bench):
    def fingerprint(rows: str) -> str:
        bench.write(rows, "mine.jsonl")
        plan = bench.plan(lambda r: r["evaluate"].update(suites=["mine.jsonl"]))
        assert plan.step("polish.evaluate").config.suites == ("mine",)
        return plan.step("polish.evaluate").fingerprint

    row = '{"question": "1+1?", "answer": "2"}\n'
    assert fingerprint(row) == fingerprint(row) != fingerprint(row + '{"question": "1+2?", "answer": "3"}\n')
    bench.write("", "mine.jsonl").unlink()
    with pytest.raises(RecipeError, match=r"evaluate\.data\.mine: no file 'mine\.jsonl'"):
        bench.plan(lambda r: r["evaluate"].update(suites=["mine.jsonl"]))


def test_a_declared_replay_is_allowed(bench: Bench):
    recipe = bench.recipe(in_step("polish", spends=["second", "first"], replay=True))
    assert recipe.pools_of("polish", Spends) == ("second", "first")


def test_a_pool_may_be_spent_on_two_sides_that_never_meet(bench: Bench):
    direct = {"stage": "sparse_grpo", "policy": "step:student_base", "spends": ["first", "second"], "epochs": 1}
    assert "direct" in bench.recipe(lambda r: r["steps"].update(direct=direct)).steps


# --- many problems at once -------------------------------------------------------------------------------------------

WRONG = """
name: wrong
sead: 1
data:
  problems: {source: arithmetic, count: 16, pools: {first: 3/4, second: 1/4}}
steps:
  base: {stage: pretrain, learning_rate: fast}
  rl: {stage: sparse_grpo, policy: step:bse, spends: frist, group_size: 1}
  rollouts: {stage: teacher_rollout, teacher: step:rl}
  distill: {stage: on_policy_distillation, policy: step:base, teacher: step:rl, prompts: first, steps: 4}
  polish: {stage: extra_rl, policy: step:distil, spends: second, epochs: 1, replays: true}
evaluate: {suites: [aime24, math50], samples: 0, of: [polsh]}
"""

GOLDEN = """\
wrong.yaml: 13 problems
  - --set steps.polis.epochs=2: no step is called 'polis'; did you mean "polish"?
  - --set seed: expected path.to.field=value
  - steps.base.learning_rate: input should be a valid number, unable to parse string as a number (got 'fast')
  - steps.rl.group_size: input should be greater than or equal to 2 (got 1)
  - steps.rollouts.stage: no stage is called 'teacher_rollout'; did you mean "teacher_rollouts"? (stages: {stages})
  - steps.polish.replays: unknown key; did you mean "replay"?
  - evaluate.samples: input should be greater than or equal to 1 (got 0)
  - sead: unknown key; did you mean "seed"?
  - steps.rl.policy: 'step:bse' is not a step above it; did you mean "step:base"?
  - steps.rl.spends: no pool is called 'frist'; did you mean "first"?
  - steps.polish.policy: 'step:distil' is not a step above it; did you mean "step:distill"?
  - evaluate.suites: no suite is called 'math50'; did you mean "math500"? (suites: {suites}, or a file)
  - evaluate.of: no step is called 'polsh'; did you mean "polish"?"""


def golden() -> str:
    """The message, with the stages and suites that exist today."""
    suites = ", ".join(
        sorted(path.stem for path in (PROJECT / "reasoning_pipeline" / "data" / "suites").glob("*.yaml"))
    )
    return GOLDEN.replace("{stages}", ", ".join(stage_kinds())).replace("{suites}", suites)


def test_everything_wrong_is_said_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    # a step or a top level that does not validate does not hide what is wrong between the fields
    monkeypatch.chdir(bench.write(WRONG, "wrong.yaml").parent)
    with pytest.raises(RecipeError) as error:
        load_recipe("wrong.yaml", ["steps.polis.epochs=2", "seed"])
    assert str(error.value) == golden()


# --- YAML ------------------------------------------------------------------------------------------------------------

BROKEN_YAML = {
    "a key twice": (
        "name: x\nsteps:\n  a: {stage: pretrain}\n  a: {}\n",
        "line 4, column 3",
        "the key 'a' stands twice",
    ),
    "an open bracket": ("name: x\nsteps: {a: {stage: pretrain}\nevaluate: 1\n", "line 3, column 1", "flow mapping"),
    "a tabulator": ("name: x\nsteps:\n\ta: 1\n", "line 3, column 1", "cannot start any token"),
    "an unfilled template": ("name: {{ name }}\nsteps: {}\n", "line 1, column 8", "a key must be a word"),
    "a foreign object": (
        "name: !!python/object:os.system x\n",
        "line 1, column 7",
        "could not determine a constructor",
    ),
}


@pytest.mark.parametrize("case", BROKEN_YAML)
def test_broken_yaml_names_line_and_column(bench: Bench, case: str):
    text, place, reason = BROKEN_YAML[case]
    with pytest.raises(RecipeError) as error:
        load_recipe(bench.write(text))
    (found,) = error.value.problems
    assert found.startswith(f"{place}: not valid YAML: ") and reason in found


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just a word\n"])
def test_a_file_that_is_no_mapping_is_named_as_what_it_is(bench: Bench, text: str):
    with pytest.raises(RecipeError, match=r"expected a mapping at the top, found (NoneType|list|str)"):
        load_recipe(bench.write(text))


def test_a_thousand_brackets_are_no_recipe(bench: Bench):
    with pytest.raises(RecipeError, match="nested too deeply"):
        load_recipe(bench.write("name: " + "[" * 1000))


def test_bytes_that_are_no_text(bench: Bench):
    path = bench.folder / "latin.yaml"
    path.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(RecipeError, match=r"not valid YAML: .*can't decode byte"):
        load_recipe(path)


def test_numbers_and_dates_are_read_as_people_write_them(bench: Bench):
    # YAML 1.1 alone would read 2e-6 as text and 2024-01-31 as a date (and 2024-13-01 as an exception)
    text = RECIPE.replace("name: small", "name: 2024-13-01").replace(
        "{stage: pretrain, ", "{stage: pretrain, seed: 1e3, "
    )
    recipe = load_recipe(bench.write(text.replace("learning_rate: 1e-3", "learning_rate: 2e-6")))
    assert recipe.name == "2024-13-01"
    assert recipe.steps["student_base"].learning_rate == 2e-6  # type: ignore[attr-defined]
    assert recipe.steps["teacher_base"].seed == 1000


# --- --set -----------------------------------------------------------------------------------------------------------


def rate(recipe: Recipe, step: str) -> float:
    return recipe.steps[step].learning_rate  # type: ignore[attr-defined]


def test_overrides_are_read_as_yaml(bench: Bench):
    overrides = (
        "steps.polish.learning_rate=2e-6",
        "steps.polish.spends=[second]",
        "evaluate.limit=null",
        "evaluate.of=[polish]",
        "seed=7",
        "prompt.suffix= a = b",
        "data.problems.pools={first: 0.5, second: 0.25}",
    )
    recipe = bench.recipe(overrides=overrides)
    assert rate(recipe, "polish") == 2e-6 and isinstance(rate(recipe, "polish"), float)
    assert recipe.pools_of("polish", Spends) == ("second",)
    evaluate = evaluation_of(recipe)
    assert evaluate is not None and (evaluate.limit, evaluate.of) == (None, ("polish",))
    assert recipe.seed == 7
    assert recipe.prompt.suffix == "a = b"  # only the first '=' divides
    assert {name: float(share) for name, share in recipe.data["problems"].pools.items()} == {
        "first": 0.5,
        "second": 0.25,
    }


BAD_OVERRIDES = {
    "steps.polsh.epochs=2": "no step is called 'polsh'; did you mean \"polish\"?",
    "data.problms.count=2": "no data set is called 'problms'; did you mean \"problems\"?",
    "steps.polish.epochs": "expected path.to.field=value",
    "steps..epochs=1": "expected path.to.field=value",
    "=1": "expected path.to.field=value",
    "name.first=x": "name holds a value, not fields",
    "steps.polish.spends=[second": "line 1, column 8: not valid YAML: while parsing a flow sequence",
}


@pytest.mark.parametrize("override", BAD_OVERRIDES)
def test_a_bad_override_is_named_with_its_mistake(bench: Bench, override: str):
    (found,) = problems(bench, overrides=(override,))
    assert found.startswith(f"--set {override}: {BAD_OVERRIDES[override]}")


def test_an_override_is_validated_like_the_file(bench: Bench):
    assert problems(bench, overrides=("steps.polish.group_size=1", "steps.polish.epoch=1")) == [
        "steps.polish.group_size: input should be greater than or equal to 2 (got 1)",
        'steps.polish.epoch: unknown key; did you mean "epochs"?',
    ]


def test_an_override_reaches_one_step_even_behind_a_yaml_alias(bench: Bench):
    text = RECIPE.replace("teacher_base: {stage: pretrain}", "teacher_base: &base {stage: pretrain}").replace(
        "student_base: {stage: pretrain, learning_rate: 1e-3}", "student_base: *base"
    )
    recipe = load_recipe(bench.write(text), ["steps.student_base.learning_rate=1"])
    assert (rate(recipe, "student_base"), rate(recipe, "teacher_base")) == (1.0, 3e-3)


# --- extends ---------------------------------------------------------------------------------------------------------


def test_a_recipe_may_hold_only_its_differences(bench: Bench):
    bench.write(RECIPE, "base/small.yaml")
    bench.write("extends: small.yaml\nseed: 3\nsteps: {polish: {learning_rate: 2e-6, epochs: 2}}\n", "base/middle.yaml")
    child = bench.write(
        "extends: base/middle.yaml\nname: child\nsteps: {polish: {epochs: null, steps: 9}}\nevaluate: null\n"
    )
    recipe = load_recipe(child)
    assert (recipe.name, recipe.seed, evaluation_of(recipe)) == ("child", 3, None)
    polish = recipe.steps["polish"].model_dump()
    # from the grandparent, the parent, and the child, whose null takes the grandparent's epochs away
    assert (polish["spends"], polish["learning_rate"], polish["epochs"], polish["steps"]) == (
        ("second",),
        2e-6,
        None,
        9,
    )


def test_null_removes_a_whole_step(bench: Bench):
    bench.changed(name="parent.yaml")
    recipe = load_recipe(bench.write("extends: parent.yaml\nsteps: {polish: null}\n"))
    assert "polish" not in recipe.steps and "distill" in recipe.steps


def test_a_circle_of_recipes_is_refused(bench: Bench):
    bench.write("extends: b.yaml\n", "a.yaml")
    bench.write("extends: a.yaml\n", "b.yaml")
    bench.write("extends: self.yaml\n", "self.yaml")
    for name in ("a", "b", "self"):
        with pytest.raises(RecipeError, match=r"extends: '\w+\.yaml' extends this recipe in turn"):
            load_recipe(bench.folder / f"{name}.yaml")


def test_a_missing_parent_is_named(bench: Bench):
    with pytest.raises(RecipeError, match=r"extends: no file 'nowhere\.yaml' \(a relative path starts at this file's"):
        load_recipe(bench.write("extends: nowhere.yaml\n"))


# --- at the command line ---------------------------------------------------------------------------------------------


def test_the_command_line_shows_the_list_and_leaves_with_2(bench: Bench):
    path = bench.write(WRONG, "wrong.yaml")
    done = command("plan", path, "--root", bench.root, "--set", "steps.polis.epochs=2", "--set", "seed")
    expected = golden().replace("wrong.yaml", str(path), 1)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {expected}\n")
    assert not bench.root.exists()


def test_a_recipe_that_does_not_exist(tmp_path: Path):
    with pytest.raises(RecipeError, match="no such recipe"):
        load_recipe(tmp_path / "nowhere.yaml")


# --- did you mean ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (in_step("teacher_rl", loss="dpao"), "(got 'dpao'); did you mean \"dapo\"?"),
        (in_step("teacher_rl", reward="exakt"), 'did you mean "exact"?'),
        (in_step("teacher_rl", reward="rewords.py:paid"), 'rewards.py"?'),
        (in_data(source="jsonl", path="mine.jsnl"), 'mine.jsonl"?'),
        (lambda r: r["evaluate"].update(suites=["mine.jsnl"]), 'mine.jsonl"?'),
        (in_step("teacher_rl", policy="./modle"), 'model"?'),
    ],
    ids=["value", "reward", "reward_file", "data_file", "suite_file", "model_folder"],
)
def test_a_mistyped_value_or_file_gets_a_suggestion(
    bench: Bench, change: Change, said: str, capsys: pytest.CaptureFixture[str]
):
    bench.write("{}", "mine.jsonl")
    bench.write("def paid(texts, columns, finishes): ...", "rewards.py")
    (bench.folder / "model").mkdir()
    assert main(["plan", str(bench.changed(change)), "--root", str(bench.root)]) != 0
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan", "arithmetik"], '"arithmetic"?'),
        (["init", "smoke/pretrian"], '"smoke/pretrain"?'),
        (["plan", "arithmetic", "--hardware", "cpu_zer03"], '"cpu_zero3"?'),
        (["plan", "miniature", "--arm", "no_warmpu"], '"no_warmup"?'),
        (["plan", "arithmetic", "--set", "steps.distil.epochs=2"], '"distill"?'),
        (["run", "arithmetic", "--until", "distil"], '"distill"?'),
        (["stages", "sparse_gpro"], '"sparse_grpo"?'),
    ],
    ids=["recipe", "init", "profile", "arm", "set", "until", "stage"],
)
def test_a_mistyped_name_gets_a_suggestion(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    words += ["--root", str(tmp_path)] if words[0] in ("plan", "run") else []
    assert main(words) != 0
    assert f"did you mean {said}" in capsys.readouterr().err
