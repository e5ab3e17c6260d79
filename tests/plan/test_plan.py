"""A step's identity is what the experiment is, and nothing else; planning needs nothing heavy."""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import reasoning_pipeline
from reasoning_pipeline.base.fingerprint import digest
from reasoning_pipeline.errors import DataError, RecipeError, RegistryError
from reasoning_pipeline.plan.graph import Plan
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
from tests.bench import OUTSIDE_FILES, RECIPE, Bench, Change, command, made_up_weights, python, write_files

Rows = Callable[..., Path]


def identities(plan: Plan) -> dict[str, str]:
    return {step.name: step.fingerprint for step in plan.steps}


def moved(bench: Bench, *changes: Change, overrides: tuple[str, ...] = ()) -> set[str]:
    """Names of the steps whose identity a change moves."""
    before, after = identities(bench.plan()), identities(bench.plan(*changes, overrides=overrides))
    return {name for name in before if before[name] != after[name]}


def below(*steps: str) -> set[str]:
    """Checkpoints with their evaluations; a rollout set has none."""
    return {*steps, *(f"{step}.evaluate" for step in steps if step != "rollouts")}


EVERYTHING = below("teacher_base", "student_base", "teacher_rl", "rollouts", "warmup", "distill", "polish")
FROM_THE_TEACHER = below("teacher_rl", "rollouts", "warmup", "distill", "polish")


# --- what moves an identity ------------------------------------------------------------------------------------------


def test_nothing_changed_moves_nothing(bench: Bench):
    assert moved(bench) == set()
    assert set(identities(bench.plan())) == EVERYTHING


@pytest.mark.parametrize(
    ("override", "steps"),
    [
        ("steps.polish.learning_rate=2e-6", below("polish")),
        ("steps.distill.temperature=0.9", below("distill", "polish")),
        ("steps.teacher_base.learning_rate=2e-3", below("teacher_base") | FROM_THE_TEACHER),
        ("steps.student_base.seed=1", below("student_base", "warmup", "distill", "polish")),
        ("steps.teacher_rl.problems_per_step=64", FROM_THE_TEACHER),
        ("seed=1", EVERYTHING),
        ("prompt.suffix=Think.", EVERYTHING),
        ("prompt.system=You are terse.", EVERYTHING),
        ("prompt.thinking=true", EVERYTHING),
        ("evaluate.samples=3", {name for name in EVERYTHING if name.endswith(".evaluate")}),
        ("evaluate.seed=1", {name for name in EVERYTHING if name.endswith(".evaluate")}),
        ("data.problems.count=20", FROM_THE_TEACHER),
        ("data.problems.pools={first: 1/4, second: 3/4}", FROM_THE_TEACHER),
    ],
)
def test_a_change_of_the_experiment_moves_the_step_and_all_that_comes_from_it(
    bench: Bench, override: str, steps: set[str]
):
    assert moved(bench, overrides=(override,)) == steps


@pytest.mark.parametrize(
    "override",
    [
        "steps.polish.save_every=7",
        "steps.polish.learning_rate=1.0e-6",  # the default, spelled out
        "steps.polish.spends=[second]",
        "name=other",
        "description=Something else",
        "expectation=Nothing",
        "evaluate.of=[teacher_base, student_base, teacher_rl, warmup, distill, polish]",
    ],
)
def test_what_is_not_the_experiment_moves_nothing(bench: Bench, override: str):
    assert moved(bench, overrides=(override,)) == set()


def test_a_renamed_step_is_the_same_work(bench: Bench):
    text = RECIPE.replace("teacher_base", "base").replace("warmup:", "bridge:").replace("step:warmup", "step:bridge")
    renamed = make_plan(load_recipe(bench.write(text)), bench.root)
    assert sorted(identities(renamed).values()) == sorted(identities(bench.plan()).values())


def test_the_stage_s_version_is_part_of_the_identity(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    from reasoning_pipeline.workflows.reasoning.stages.extra_rl import Config

    before = identities(bench.plan())
    monkeypatch.setattr(Config, "version", 2)
    after = identities(bench.plan())
    assert {name for name in before if before[name] != after[name]} == below("polish")


def test_hardware_has_no_way_into_a_plan(bench: Bench):
    # the profile is not among make_plan's arguments; at the command line two profiles print the same states
    slow = bench.write("name: slow\nmicro_batch: 1\nprecision: bfloat16\nserver: {max_servers: 1}\n", "slow.yaml")
    plan = bench.plan()
    bench.publish(plan, "teacher_base")
    here, there = (
        command("plan", plan.recipe.path, "--root", bench.root, "--hardware", str(profile)) for profile in ("cpu", slow)
    )
    assert (here.returncode, there.returncode) == (0, 0), here.stderr + there.stderr
    assert here.stdout.replace("small on cpu", "") == there.stdout.replace("small on slow", "")
    assert "1 of 13 steps complete, evaluations included; 12 would run" in here.stdout
    assert "labels in play: 16 (first 12, second 4)" in here.stdout


# --- data ------------------------------------------------------------------------------------------------------------

FROM_FILE = """
name: from-file
data: {mine: {source: jsonl, path: problems.jsonl, pools: {all: 1}}}
steps:
  base: {stage: pretrain}
  rl: {stage: sparse_grpo, policy: step:base, spends: all, epochs: 1}
"""

QUESTIONS = [{"question": f"What is {i}+{i}?", "answer": str(2 * i), "note": "x"} for i in range(6)]


def from_file(bench: Bench, rows: Rows, items: list, *, folder: str = "", name: str = "problems.jsonl") -> str:
    path = bench.write(FROM_FILE.replace("problems.jsonl", name), f"{folder}/r.yaml".lstrip("/"))
    rows(items, f"{folder}/{name}".lstrip("/"))
    return make_plan(load_recipe(path), bench.root).step("rl").fingerprint


def test_one_answer_of_the_labels_moves_the_identity(bench: Bench, rows: Rows):
    before = from_file(bench, rows, QUESTIONS)
    changed = [*QUESTIONS[:3], {**QUESTIONS[3], "answer": "7"}, *QUESTIONS[4:]]
    assert from_file(bench, rows, changed) != before
    assert from_file(bench, rows, [*QUESTIONS, {"question": "What is 1+2?", "answer": "3"}]) != before


def test_where_and_how_the_labels_are_stored_does_not(bench: Bench, rows: Rows):
    before = from_file(bench, rows, QUESTIONS)
    (bench.folder / "else").mkdir()
    assert from_file(bench, rows, QUESTIONS, folder="else", name="renamed.jsonl") == before
    assert from_file(bench, rows, QUESTIONS[::-1]) == before
    assert from_file(bench, rows, [{"problem": q["question"], "answer": q["answer"]} for q in QUESTIONS]) == before


def test_questions_alone_decide_where_no_label_is_used(bench: Bench, rows: Rows):
    # pretrain on texts reads questions, not answers
    def identity(items: list) -> str:
        rows(items)
        text = "name: t\ndata: {mine: {source: jsonl, path: problems.jsonl}}\nsteps:\n  base: {stage: pretrain, "
        plan = make_plan(load_recipe(bench.write(text + "corpus: prompts, data: mine}\n")), bench.root)
        return plan.step("base").fingerprint

    before = identity(QUESTIONS)
    assert identity([{**q, "answer": "7"} for q in QUESTIONS]) == before
    assert identity([{**q, "question": q["question"] + " "} for q in QUESTIONS]) != before


def test_a_suite_s_local_file_counts_by_content(bench: Bench, rows: Rows):
    rows(QUESTIONS, "a.jsonl"), rows(QUESTIONS, "b.jsonl"), rows(QUESTIONS[1:], "c.jsonl")
    a, b, c = (bench.plan(overrides=(f"evaluate.data.arithmetic={name}.jsonl",)) for name in "abc")
    assert identities(a) == identities(b)
    assert identities(a)["polish"] == identities(c)["polish"]
    assert identities(a)["polish.evaluate"] != identities(c)["polish.evaluate"]


def test_a_suite_s_missing_file_is_a_mistake_of_the_recipe(bench: Bench):
    with pytest.raises(RecipeError, match=r"evaluate\.data\.arithmetic: no file 'gone\.jsonl'"):
        bench.plan(overrides=("evaluate.data.arithmetic=gone.jsonl",))


def test_a_pool_that_would_be_empty_is_refused(bench: Bench):
    with pytest.raises(DataError, match=r"data\.problems\.pools\.second: 1/4 of 2 problems is none at all"):
        bench.plan(overrides=("data.problems.count=2",))


# --- models from outside ---------------------------------------------------------------------------------------------


def with_policy(bench: Bench, reference: str) -> Plan:
    return bench.plan(lambda r: r["steps"]["polish"].update(policy=reference))


def test_a_folder_counts_by_content_not_by_place(bench: Bench):
    write_files(bench.folder / "a", OUTSIDE_FILES), write_files(bench.folder / "deep" / "b", OUTSIDE_FILES)
    write_files(bench.folder / "c", OUTSIDE_FILES | {"model.safetensors": made_up_weights("others")})
    a, b, c = (with_policy(bench, name).step("polish") for name in ("a", "./deep/b", str(bench.folder / "c")))
    assert a.fingerprint == b.fingerprint != c.fingerprint
    assert a.inputs[0].artifact is None


def test_hub_names_differ_by_revision(bench: Bench):
    names = ("Qwen/Qwen3-1.7B", "Qwen/Qwen3-1.7B@abc", "Qwen/Qwen3-4B")
    assert len({with_policy(bench, name).step("polish").fingerprint for name in names}) == 3


def test_an_artifact_of_another_recipe_counts_as_what_it_is(bench: Bench):
    (artifact,) = bench.publish(bench.plan(), "distill")
    (entry,) = with_policy(bench, artifact.name[:-2]).step("polish").inputs
    assert (entry.fingerprint, entry.step, entry.artifact) == (artifact.record.fingerprint, None, artifact.name)


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("./gone", "gone: no such folder"),
        ("techer_base", "is no checkpoint in .*, no folder and no hub name"),
        ("empty", "empty: no config.json"),
    ],
)
def test_a_model_that_is_not_there_is_refused_before_anything_runs(bench: Bench, reference: str, sentence: str):
    (bench.folder / "empty").mkdir()
    with pytest.raises(RegistryError, match=sentence):
        with_policy(bench, reference)


# --- the graph -------------------------------------------------------------------------------------------------------


def test_equal_steps_are_one_work(bench: Bench):
    twin = {"stage": "sparse_grpo", "policy": "step:teacher_base", "spends": "first", "epochs": 1}
    plan = bench.plan(lambda r: r["steps"].update(twin=twin))
    assert plan.step("twin").fingerprint == plan.step("teacher_rl").fingerprint
    bench.publish(plan, "teacher_rl", "teacher_rl.evaluate")
    plan = bench.plan(lambda r: r["steps"].update(twin=twin))
    assert plan.step("twin").complete and plan.step("twin.evaluate").complete


def test_an_evaluation_follows_its_checkpoint(bench: Bench):
    names = bench.plan().names()
    assert names[:4] == ["teacher_base", "teacher_base.evaluate", "student_base", "student_base.evaluate"]
    assert names.index("rollouts") + 1 == names.index("warmup")  # a rollout set is not scored
    only = bench.plan(overrides=("evaluate.of=[distill, polish]",))
    assert [name for name in only.names() if "." in name] == ["distill.evaluate", "polish.evaluate"]
    (entry,) = only.step("polish.evaluate").inputs
    assert (entry.step, entry.fingerprint) == ("polish", only.step("polish").fingerprint)


def test_only_a_published_step_is_complete(bench: Bench):
    plan = bench.plan()
    bench.publish(plan, "teacher_base")
    assert [step.name for step in bench.plan().steps if step.complete] == ["teacher_base"]
    assert bench.plan(overrides=("steps.teacher_base.seed=5",)).step("teacher_base").complete is False


def test_a_plan_is_json(bench: Bench):
    plan = bench.plan()
    values = json.loads(json.dumps(plan.as_json(), allow_nan=False))
    polish = values["steps"][-2]
    assert (polish["name"], polish["stage"], polish["complete"]) == ("polish", "extra_rl", False)
    assert polish["output"] == f"extra_rl-{polish['fingerprint'][:16]}"
    assert polish["inputs"][0] == {
        "field": "policy",
        "reference": "step:distill",
        "fingerprint": plan.step("distill").fingerprint,
        "step": "distill",
        "artifact": plan.step("distill").output,
    }
    (spent,) = polish["spends"]
    assert (spent["step"], spent["pool"], spent["labels"], spent["replay"]) == ("polish", "second", 4, False)
    assert values["arms"][0]["outcome"] == "polish" and polish["users"] == [["main", 0]]


def test_an_identity_survives_its_record(bench: Bench):
    # the fingerprint can be computed again from what the record keeps, after a round trip through JSON
    for step in bench.plan().steps:
        assert digest(json.loads(json.dumps(step.identity))) == step.fingerprint


# --- floors: what may not be imported --------------------------------------------------------------------------------

HEAVY = ("torch", "transformers", "trl", "vllm", "datasets", "accelerate")
NOT_FOR_A_LOOK = (*HEAVY, "jinja2", "httpx", "numpy", "scipy")
"""A command that only shows something is to answer within half a second."""
MAY_BE_HEAVY = (
    "workflows.reasoning.readable",
    "training",
    "rollouts",
    "models",
    "workflows.reasoning.grpo",
    "workflows.reasoning.until",
    "workflows.recommendation.learning",
    "workflows.recommendation.sasrec",
    "workflows.user_logs.opening",
    "workflows.user_logs.serving",
    "doctor.distance",
)
"""Rooms and files of which some import torch when they are imported; all others must not."""


def light_modules() -> list[str]:
    names = [module.name for module in pkgutil.walk_packages(reasoning_pipeline.__path__, "reasoning_pipeline.")]
    heavy = tuple(f"reasoning_pipeline.{name}" for name in MAY_BE_HEAVY)
    return [name for name in names if not name.startswith(heavy) and not name.endswith("__main__")]


LIGHT = light_modules()

WATCH = "import sys; heavy = lambda: [m for m in {!r} if m in sys.modules]\n"


@pytest.fixture(scope="module")
def pulled_in() -> dict[str, list[str]]:
    """Module -> heavy packages present right after importing it, in this order, in one fresh process."""
    script = WATCH.format(HEAVY) + f"import importlib, json; found = {{}}\nfor name in {LIGHT!r}:\n"
    script += "    importlib.import_module(name); found[name] = heavy()\nprint(json.dumps(found))"
    done = python("-c", script)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("module", LIGHT)
def test_importing_this_imports_nothing_heavy(pulled_in: dict[str, list[str]], module: str):
    assert pulled_in[module] == []


LOOKS = ["--help", "plan --help", "stages", "plan RECIPE --root ROOT", "show --root ROOT"]


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Of each command, one after the other in one fresh process: its status, and the heavy packages present."""
    bench = Bench(tmp_path_factory.mktemp("looks"))
    plan = bench.plan()
    bench.publish(plan, "teacher_base")
    places = {"RECIPE": str(plan.recipe.path), "ROOT": str(bench.root)}
    commands = [[places.get(word, word) for word in look.split()] for look in LOOKS]
    script = WATCH.format(NOT_FOR_A_LOOK) + (
        "import json\nfrom reasoning_pipeline.__main__ import main\n"
        f"for command in {commands!r}:\n"
        "    try:\n        status = main(command)\n"
        "    except SystemExit as end:\n        status = end.code\n"
        "    print('found ' + json.dumps({'status': status, 'heavy': heavy()}))"
    )
    done = python("-c", script)
    found = [json.loads(line.removeprefix("found ")) for line in done.stdout.splitlines() if line.startswith("found ")]
    assert len(found) == len(LOOKS), done.stderr
    return found


@pytest.mark.parametrize("look", LOOKS)
def test_looking_costs_nothing_heavy(looked: list[dict[str, Any]], look: str):
    assert looked[LOOKS.index(look)] == {"status": 0, "heavy": []}
