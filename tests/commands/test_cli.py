"""What a person sees: the registry, one artifact with its lineage, the stages, and help that helps."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from launch.__main__ import main as launch_main
from reasoning_pipeline.__main__ import main
from reasoning_pipeline.base.hub import AWAY
from reasoning_pipeline.commands import COMMANDS
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.recipe.workflows import stage_kinds, stage_module
from reasoning_pipeline.run.progress import describe, summary
from tests.bench import Bench, command
from tests.run.conftest import PROJECT


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def show(bench: Bench, *arguments: str) -> int:
    return main(["show", *arguments, "--root", str(bench.root)])


def test_an_empty_registry_says_so(bench: Bench, capsys: pytest.CaptureFixture[str]):
    assert show(bench) == show(bench, "--verify") == 0
    assert set(capsys.readouterr().out.splitlines()) == {f"nothing is published in {bench.root / 'registry'} yet"}
    assert not bench.root.exists()


def test_a_filled_registry_lists_each_artifact_oldest_first(bench: Bench, capsys: pytest.CaptureFixture[str]):
    plan = bench.plan()
    spend = [{"step": "teacher_rl", "pool": "first", "labels": 12}]
    bench.publish(plan, "teacher_base", created="2026-01-01T00:00:00+00:00")
    result = {"reward_first": 0.25, "reward_last": 0.5}
    bench.publish(plan, "teacher_rl", created="2026-01-02T00:00:00+00:00", label_spend=spend, result=result)
    assert show(bench) == 0
    heading, base, rl = (line.split() for line in capsys.readouterr().out.splitlines())
    assert heading == ["small"]
    assert base == ["teacher_base", "2026-01-01", "00:00", "–"]
    assert rl == ["teacher_rl", "2026-01-02", "00:00", "12", "reward", "0.25", "→", "0.50"]
    assert show(bench, "--verbose") == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    outputs = [plan.step(name).output for name in ("teacher_base", "teacher_rl")]
    assert lines[2] == outputs[0] and lines[4] == f"{outputs[1]} ← teacher_base"


def test_verify_says_which_files_differ_and_leaves_with_1(bench: Bench, capsys: pytest.CaptureFixture[str]):
    first, second = bench.publish(bench.plan(), "teacher_base", "student_base")
    assert show(bench, "--verify") == 0
    (first.folder / "model.safetensors").write_text("others!")
    assert show(bench, "--verify") == show(bench, first.name, "--verify") == 1
    assert show(bench, second.name, "--verify") == 0
    out = capsys.readouterr().out
    assert "1 differ" in out
    assert f"error: {first.name}/model.safetensors: content differs from its record" in out


def test_one_artifact_shows_where_it_comes_from(bench: Bench, capsys: pytest.CaptureFixture[str]):
    plan = bench.plan()
    bench.publish(
        plan, "teacher_base", "teacher_rl", "rollouts", "warmup", "distill", "polish"
    )  # student_base: not here
    assert show(bench, "polish") == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    names = [line.lstrip("│├└─ ") for line in lines]
    output = {step.name: step.output for step in plan.steps}
    assert names[0] == f"{output['polish']} (small/polish)"
    assert names[1] == f"policy: {output['distill']} (small/distill)"
    assert names[2] == f"policy: {output['warmup']} (small/warmup)"
    assert names[3] == f"policy: {output['student_base']} (not here)"
    assert f"folder   {bench.root / 'registry' / output['polish']}" in lines


@pytest.mark.parametrize("name", ["polsh", "extra_rl", "pretrain"])
def test_a_name_that_fits_nothing_or_too_much_is_explained(bench: Bench, capsys: pytest.CaptureFixture[str], name: str):
    both = bench.publish(bench.plan(), "teacher_base", "student_base")
    assert show(bench, name) == 1
    error = capsys.readouterr().err
    if name == "pretrain":
        assert all(artifact.name in error for artifact in both)
    else:
        assert f"error: {name!r} fits nothing" in error
        assert "→ `python -m reasoning_pipeline show` lists what there is" in error


def test_a_misspelt_step_gets_a_suggestion(bench: Bench, capsys: pytest.CaptureFixture[str]):
    bench.publish(bench.plan(), "polish")
    assert show(bench, "polsh") == 1
    assert "'polsh' fits nothing; did you mean \"polish\"?" in capsys.readouterr().err


def test_stages_lists_every_stage_with_what_it_does(capsys: pytest.CaptureFixture[str]):
    assert main(["stages"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert tuple(lines[::2]) == stage_kinds()
    for kind, text in zip(lines[::2], lines[1::2], strict=True):
        assert text.startswith("    ") and " ".join((stage_module(kind).__doc__ or "").split()).startswith(text.strip())


def test_help_names_every_command():
    done = command("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for name in COMMANDS:
        assert re.search(rf"\n    {name}\s", done.stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_lies_where_the_help_says(name: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: python -m reasoning_pipeline {name} ")


def plan_lines(bench: Bench, capsys: pytest.CaptureFixture[str], recipe: Path, *words: str) -> list[str]:
    assert main(["plan", str(recipe), "--root", str(bench.root), *words]) == 0
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


COMPLETE = """
{script}
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=()
{function}; printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("reasoning-pipeline pl", "plan"),
        ("reasoning-pipeline plan arith", "arithmetic"),
        ("reasoning-pipeline plan smoke/pret", "smoke/pretrain"),
        ("reasoning-pipeline plan arithmetic --ver", "--verbose"),
        ("reasoning-pipeline run arithmetic --hardware node_8x8", "node_8x80gb"),
        ("reasoning-pipeline stages sparse", "sparse_grpo"),
        ("reasoning-launch slurm arithmetic --dry", "--dry-run"),
    ],
)
def test_bash_completes_commands_options_and_names(
    words: str, offered: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    program = words.split(maxsplit=1)[0]
    assert (main if program == "reasoning-pipeline" else launch_main)(["completion"]) == 0
    text = COMPLETE.format(script=capsys.readouterr().out, words=words, function="_" + program.replace("-", "_"))
    done = subprocess.run(["bash", "-c", text], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stderr, offered in done.stdout.split()) == ("", True), done.stdout


def test_a_plan_shows_order_labels_and_what_is_done(bench: Bench, capsys: pytest.CaptureFixture[str]):
    plan = bench.plan()
    bench.publish(plan, "teacher_base", "teacher_rl")
    (bench.root / "work" / plan.step("warmup").output / "checkpoints").mkdir(parents=True)
    lines = plan_lines(bench, capsys, plan.recipe.path)
    assert lines[:2] == ["small on cpu", "step stage labels disk state"]
    assert "teacher_rl sparse_grpo 12 48 kB to be scored" in lines  # its evaluation is missing
    assert any(line.startswith("warmup forward_kl_warmup – ") and line.endswith(" would resume") for line in lines)
    assert "2 of 13 steps complete, evaluations included; 11 would run" in lines
    assert "labels in play: 16 (first 12, second 4)" in lines
    assert not any("←" in line for line in lines), "what a step reads is a detail"


def test_the_details_of_a_plan_say_what_each_step_reads(bench: Bench, capsys: pytest.CaptureFixture[str]):
    plan = bench.plan()
    bench.publish(plan, "teacher_base", "teacher_rl")
    lines = plan_lines(bench, capsys, plan.recipe.path, "--verbose")
    assert "3 teacher_rl 12 complete to do sparse_grpo ← teacher_base" in lines
    assert "4 rollouts – would run teacher_rollouts ← teacher teacher_rl; 12 questions" in lines
    assert "estimated for cpu" in lines and any("optimizer" in line for line in lines)


def test_gpu_hours_are_hours_times_the_profile_s_devices(bench: Bench, capsys: pytest.CaptureFixture[str]):
    path = str(bench.changed())
    assert main(["plan", path, "--root", str(bench.root), "--hardware", "two_nodes", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["devices"] == 16  # eight of trainers, eight of servers
    hours = [step["estimate"] for step in found["steps"] if step["estimate"]["hours"]]
    assert hours and all(one["gpu_hours"] == 16 * one["hours"] for one in hours)
    assert any(
        line.endswith("on 16 GPUs;") for line in plan_lines(bench, capsys, Path(path), "--hardware", "two_nodes")
    )


@pytest.mark.parametrize(("recipe", "hardware"), [("qwen3_1.7b_math", "node_8x80gb"), ("miniature", "cpu")])
def test_the_plan_of_a_large_recipe_is_one_screen_of_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recipe: str, hardware: str
):
    words = ["plan", str(PROJECT / "recipes" / f"{recipe}.yaml"), "--root", str(tmp_path), "--hardware", hardware]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40  # it was 528
    assert [line for line in lines if len(line) > 80 and "was not read" not in line and "→" not in line] == []


@pytest.mark.parametrize("model", ["/no/such", "./neither", "no_such_artifact"])
def test_a_model_that_is_not_there_is_told_with_its_step_and_field(
    bench: Bench, capsys: pytest.CaptureFixture[str], model: str
):
    recipe = bench.changed(lambda r: r["steps"]["teacher_rl"].update(policy=model))
    assert main(["plan", str(recipe), "--root", str(bench.root)]) == 1
    assert f"error: {recipe}: steps.teacher_rl.policy: " in capsys.readouterr().err


def test_a_plan_for_programs_has_every_step_with_its_estimate(bench: Bench, capsys: pytest.CaptureFixture[str]):
    recipe = str(bench.changed())
    assert main(["plan", recipe, "--root", str(bench.root), "--hardware", "node_8x80gb", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["recipe"], found["profile"], found["not_read"]) == ("small", "node_8x80gb", {})
    steps = {step["name"]: step for step in found["steps"]}
    assert set(steps) == set(bench.plan().names())
    assert steps["distill"]["complete"] is False and steps["distill"]["estimate"]["tokens_trained"] > 0


def test_no_name_is_cut_where_the_output_is_narrow(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")  # what a pipe or a log file gets
    plan = bench.plan()
    assert main(["plan", str(plan.recipe.path), "--root", str(bench.root), "--verbose"]) == 0
    out = capsys.readouterr().out
    for name in plan.names():
        assert f" {name} " in out or name.endswith(".evaluate")  # which stand in the row of what they score
    artifacts = bench.publish(plan)
    assert show(bench, "--verbose") == 0
    out += capsys.readouterr().out
    for artifact in artifacts:
        assert artifact.name in out  # whole, to be copied
    assert "…" not in out


def test_a_missing_recipe_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["plan", str(tmp_path / "gone.yaml")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'gone.yaml'}: 1 problem\n  - no such recipe\n"


def test_what_must_be_fetched_is_told_with_the_options_that_were_given(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def unreachable(*arguments: object, **options: object) -> None:
        raise DataError("the hub cannot be reached", remedy=AWAY)

    monkeypatch.setattr("reasoning_pipeline.plan.planner.make_plan", unreachable)
    recipe = bench.changed()
    assert main(["labels", str(recipe), "--root", str(bench.root), "--set", "seed=3"]) == 2
    assert f"`python -m launch prefetch {recipe} --root {bench.root} --set seed=3` on" in capsys.readouterr().err


# --- one line of progress --------------------------------------------------------------------------------------------


def test_progress_shows_what_is_known_and_no_more():
    assert describe({}) == "starting"
    assert describe({"step": 3}) == "step 3"
    values = {"step": 12, "total_steps": 48, "reward": 0.516, "tokens_per_s": 6400.4, "seconds_left": 18.4, "loss": 1.0}
    assert describe(values) == "step 12/48 · reward 0.52 · 6,400 tokens/s · 0:18 left"
    assert describe({"step": 1, "loss": 2.0, "kl": None}) in ("step 1 · loss 2.000", "step 1")


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({}, ""),
        ({"reward_first": 0.25, "reward_last": 0.5}, ": reward 0.25 → 0.50"),
        ({"kl_first": 2.0, "kl_last": 0.125}, ": KL 2.0000 → 0.1250"),
        ({"rollouts": 1200, "accuracy": 0.5}, ": 1,200 rollouts, 50.0% right"),
        ({"suites": {"a": {"accuracy": 0.5}, "b": {"accuracy": None}}}, ": a 50.0%"),
        ({"suites": {"b": {"accuracy": None}}}, ""),
    ],
)
def test_a_finished_step_is_summed_up_in_one_figure(result: dict, text: str):
    assert summary(result) == text
