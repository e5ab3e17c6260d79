"""Each check of the doctor, seen content and seen complaining; and one that breaks stops no other."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from reasoning_pipeline.__main__ import main
from reasoning_pipeline.data.unread import SketchedPools
from reasoning_pipeline.doctor import contents, distance, folders, launching, machine
from reasoning_pipeline.doctor.examine import CHECKS, examine
from reasoning_pipeline.doctor.subject import Check, Finding, Subject
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.hardware.profile import HardwareProfile, ServerProfile
from reasoning_pipeline.plan import compatibility
from reasoning_pipeline.plan.planner import make_plan
from tests.bench import Bench, Change, made_up_weights
from tests.plan.test_compatibility import edit, model

GIB = 2**30


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub" / "hub"))


def subject(bench: Bench, *changes: Change, profile: HardwareProfile | None = None, **fields: Any) -> Subject:
    recipe = bench.recipe(*changes)
    plan = make_plan(recipe, bench.root, (), SketchedPools)
    return Subject(plan=plan, profile=profile or HardwareProfile(), root=bench.root, **fields)


def found(check: Check, about: Subject) -> list[tuple[str, str]]:
    return [(finding.level, finding.message) for finding in examine(about, (check,))]


def only(check: Check, about: Subject) -> tuple[str, str]:
    (one,) = found(check, about)
    return one


def outside(bench: Bench, student: str = "small", teacher: str = "large") -> Change:
    """A recipe whose models come from two folders beside it."""
    for name in {student, teacher}:
        if not (bench.folder / name).is_dir():
            model(bench.folder / name)

    def change(recipe: dict[str, Any]) -> None:
        steps = recipe["steps"]
        del steps["teacher_base"], steps["student_base"]
        steps["teacher_rl"]["policy"] = teacher
        steps["warmup"]["policy"] = student

    return change


def short(recipe: dict[str, Any]) -> None:
    """Rows that any machine can train."""
    for step in ("teacher_rl", "rollouts", "distill", "polish"):
        recipe["steps"][step].update(max_prompt_tokens=32, max_completion_tokens=32)


def cuda(**fields: Any) -> HardwareProfile:
    return HardwareProfile(device="cuda", precision="bfloat16", **fields)


# The whole


def test_every_check_is_content_with_a_recipe_that_makes_its_models(bench: Bench):
    findings = examine(subject(bench, short))
    assert {finding.level for finding in findings} == {"ok"}
    assert all(finding.message for finding in findings)
    assert len(CHECKS) == 18


def test_a_check_that_breaks_is_a_finding_and_stops_no_other(bench: Bench):
    def broken(_: Subject) -> Iterator[Finding]:
        yield Finding(level="ok", check="broken", message="first")
        raise ZeroDivisionError("oh")

    def refusing(_: Subject) -> Iterator[Finding]:
        raise DataError("bad row", remedy="mend it")
        yield

    findings = examine(subject(bench), (broken, refusing, machine.ports))
    assert [finding.level for finding in findings] == ["ok", "warning", "error", "ok"]
    assert findings[1].message == "the check itself failed: ZeroDivisionError: oh"
    assert (findings[2].check, findings[2].remedy) == ("refusing", "mend it")


def test_the_command_prints_a_table_and_leaves_with_1_on_errors(bench: Bench, capsys: pytest.CaptureFixture[str]):
    path = bench.changed(lambda recipe: recipe["steps"]["teacher_rl"].update(policy="Nobody/nothing"))
    arguments = ["doctor", str(path), "--root", str(bench.root)]
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert main(arguments) == 1
    out = capsys.readouterr().out
    assert "error" in out and "Nobody/nothing is not on this machine" in out and "python -m launch prefetch" in out
    assert main([*arguments, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["error"] == 1 and report["subject"] == "small on cpu"
    assert {"level", "check", "message", "remedy"} == set(report["findings"][0])
    assert main(["doctor", str(bench.changed()), "--root", str(bench.root)]) == 0


def test_an_invalid_recipe_is_said_in_full(bench: Bench, capsys: pytest.CaptureFixture[str]):
    path = bench.changed(lambda recipe: recipe["steps"]["teacher_rl"].update(learning_rat=1e-5, group_size=1))
    assert main(["doctor", str(path), "--root", str(bench.root)]) == 2
    error = capsys.readouterr().err
    assert 'learning_rat: unknown key; did you mean "learning_rate"?' in error and "group_size" in error


# Contents


def test_models_are_here_or_prefetched(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compatibility, "check_loads", lambda folder, **_: None)  # these have tokenizers alone
    change = outside(bench)
    assert {level for level, _ in found(folders.models, subject(bench, change))} == {"ok"}

    def hub(recipe: dict[str, Any]) -> None:
        change(recipe)
        recipe["steps"]["warmup"]["policy"] = "Qwen/Qwen3-1.7B"

    assert [level for level, _ in found(folders.models, subject(bench, hub))] == ["ok", "warning"]
    assert [level for level, _ in found(folders.models, subject(bench, hub, offline=True))] == ["ok", "error"]


def test_tokenizers_that_differ_are_an_error_with_the_first_difference(bench: Bench):
    change = outside(bench)
    level, message = only(contents.tokenizers, subject(bench, change))
    assert level == "ok" and "end tokens [2]" in message
    edit(bench.folder / "large" / "tokenizer_config.json", lambda t: t.update(eos_token="<|endoftext|>"))
    level, message = only(contents.tokenizers, subject(bench, change))
    assert level == "error" and "end tokens: [2] in the student, [0] in the teacher" in message


def test_the_same_vocabulary_cut_in_another_way_is_found(bench: Bench):
    change = outside(bench)
    # Digits in pairs: every token has the same id on both sides, but the texts are cut differently.
    edit(
        bench.folder / "large" / "tokenizer.json", lambda t: t["pre_tokenizer"].update(pattern={"Regex": "[0-9]{2}|."})
    )
    level, message = only(contents.tokenizers, subject(bench, change))
    assert level == "error" and "cut 'What is 12345 + 678.90?' differently" in message


def test_the_prompt_is_shown_and_a_thinking_mode_that_is_not_there(bench: Bench):
    change = outside(bench)
    level, message = only(contents.prompt, subject(bench, change))
    assert level == "ok" and "no thinking mode" in message and "<|im_start|>" in message

    def thinking(recipe: dict[str, Any]) -> None:
        change(recipe)
        recipe["prompt"] = {"thinking": True}

    assert [level for level, _ in found(contents.prompt, subject(bench, thinking))] == ["warning", "ok"]


def test_sampling_that_importance_ratios_do_not_describe(bench: Bench):
    assert only(contents.sampling, subject(bench))[0] == "ok"

    def off(recipe: dict[str, Any]) -> None:
        recipe["steps"]["teacher_rl"].update(correct_sampler_mismatch=False, temperature=0.8)
        recipe["steps"]["polish"].update(lora={"dropout": 0.1})

    warnings = found(contents.sampling, subject(bench, off, profile=HardwareProfile(precision="bfloat16")))
    assert [level for level, _ in warnings] == ["warning"] * 3
    assert (
        "lora.dropout 0.1" in warnings[1][1]
        and "different temperatures: teacher_rl at 0.8, polish at 1" in warnings[2][1]
    )


def test_rows_longer_than_the_model_has_positions(bench: Bench):
    change = outside(bench)
    for name in ("small", "large"):
        edit(bench.folder / name / "config.json", lambda c: c.update(max_position_embeddings=32768))
    assert {level for level, _ in found(contents.lengths, subject(bench, change))} == {"ok"}
    edit(bench.folder / "large" / "config.json", lambda c: c.update(max_position_embeddings=4096))
    errors = [message for level, message in found(contents.lengths, subject(bench, change)) if level == "error"]
    assert errors == ["teacher_rl may write rows of 18,432 tokens, large has 4,096 positions"]


def jsonl(rows: Callable[..., Path], items: list[Any]) -> Change:
    path = rows(items)

    def change(recipe: dict[str, Any]) -> None:
        recipe["data"]["problems"] = {"source": "jsonl", "path": str(path), "pools": {"first": "3/4", "second": "1/4"}}

    return change


def test_data_is_counted_and_what_is_odd_about_it_said(bench: Bench, rows: Callable[..., Path]):
    wrapper = "Solve the following problem and put the answer into a box: "
    good = [{"question": f"What is {n}+1?", "answer": str(n + 1)} for n in range(8)]
    assert only(contents.data, subject(bench, jsonl(rows, good)))[1].startswith(
        "problems: 8 problems (first 6, second 2)"
    )
    repeated = [*good, good[0], {"question": "What is 7+1?", "answer": "9"}]
    levels = found(contents.data, subject(bench, jsonl(rows, repeated)))
    assert "1 repetitions merged" in levels[0][1] and "1 questions have several answers" in levels[1][1]
    wrapped = [{**row, "question": wrapper + row["question"]} for row in good]
    assert (
        "all questions begin with 'Solve the following"
        in found(contents.data, subject(bench, jsonl(rows, wrapped)))[1][1]
    )
    unread = [*good, {"question": "Which?", "answer": "the \\frac{"}]
    assert "the reward cannot read 1" in found(contents.data, subject(bench, jsonl(rows, unread)))[1][1]


def test_data_of_the_hub_that_is_not_here(bench: Bench):
    def hub(recipe: dict[str, Any]) -> None:
        recipe["data"]["problems"] = {
            "source": "hub",
            "id": "a/b",
            "count": 8,
            "pools": {"first": "1/2", "second": "1/2"},
        }

    assert only(contents.data, subject(bench, hub))[0] == "warning"
    assert only(contents.data, subject(bench, hub, offline=True))[0] == "error"


@pytest.mark.slow
def test_distances_between_models(
    bench: Bench,
    tiny_model: Path,
    other_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def here(program: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        """The same program without a process of its own, which would import torch each time."""
        status = distance.main(program[3:])
        return subprocess.CompletedProcess(program, status, stdout=capsys.readouterr().out, stderr="")

    in_a_process, run = subprocess.run, contents.subprocess
    monkeypatch.setattr(run, "run", here)
    for name, folder in (("small", tiny_model), ("large", other_model), ("same", tiny_model)):
        shutil.copytree(folder, bench.folder / name)
    level, message = only(contents.distances, subject(bench, outside(bench)))
    assert level == "ok" and "KL(small, large)" in message
    level, message = only(contents.distances, subject(bench, outside(bench, teacher="same")))
    assert level == "warning" and "KL(small, same) 0 nats" in message
    monkeypatch.setattr(run, "run", in_a_process)
    (bench.folder / "large" / "model.safetensors").write_text(made_up_weights("damaged"))
    level, message = only(contents.distances, subject(bench, outside(bench)))
    assert level == "error" and "cannot be compared" in message


def test_large_models_are_compared_only_when_asked(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(contents, "READ_BYTES", 1)
    assert "--models loads them" in only(contents.distances, subject(bench, outside(bench)))[1]


# The machine


def test_versions_against_the_pins(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    assert only(machine.packages, subject(bench))[0] == "ok"
    from importlib import metadata

    real = metadata.version

    def version(name: str) -> str:
        if name == "peft":
            raise metadata.PackageNotFoundError(name)
        return "0.0.1" if name == "trl" else real(name)

    monkeypatch.setattr(machine.metadata, "version", version)
    assert sorted(found(machine.packages, subject(bench))) == [
        ("error", "peft is not installed (==0.21.2 is needed)"),
        ("warning", "trl is 0.0.1; tested with ==1.16.0"),
    ]


def program(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for a program of the machine, first on PATH."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")


def test_gpus_against_the_profile(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    program(bench.folder, "nvidia-smi", "echo 'H100, 81559, 0'; echo 'H100, 81559, 30000'", monkeypatch)
    one = cuda(trainer_devices="0", device_memory_gib=79.6)
    assert only(machine.gpus, subject(bench, profile=one)) == ("ok", "2 x H100, 79.6 GiB")
    four = cuda(trainer_devices="0,1,2,3")
    assert found(machine.gpus, subject(bench, profile=four))[0] == (
        "error",
        "the profile uses 4 GPUs of one node, 2 are here",
    )
    larger = cuda(trainer_devices="1", device_memory_gib=140.4)
    messages = [message for _, message in found(machine.gpus, subject(bench, profile=larger))]
    assert "GPU 0 (H100) has 79.6 GiB, the profile says 140.4" in messages
    assert "29.3 GiB of GPU 1 are in use already" in messages


def test_no_driver(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(bench.folder))
    assert only(machine.gpus, subject(bench, profile=cuda()))[0] == "error"
    on_a_cluster = HardwareProfile.model_validate({"device": "cuda", "slurm": {}})
    assert only(machine.gpus, subject(bench, profile=on_a_cluster))[0] == "warning"


def test_memory_that_cannot_do(bench: Bench):
    assert only(machine.memory, subject(bench, short))[0] == "ok"
    assert only(machine.memory, subject(bench))[0] == "warning"  # 1,024 rows of 18,432 tokens at once
    tiny = cuda(device_memory_gib=1.0)
    findings = found(machine.memory, subject(bench, profile=tiny))
    assert {level for level, _ in findings} == {"error"}
    assert any("a trainer device would hold" in message for _, message in findings)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_disk_and_shared_memory_that_are_too_small(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    assert only(machine.disk, subject(bench))[0] == only(machine.shared_memory, subject(bench))[0] == "ok"
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: Usage(10, 10, 1000))
    assert only(machine.disk, subject(bench))[0] == only(machine.shared_memory, subject(bench))[0] == "error"
    through_gpu = cuda(server=ServerProfile(transport="nccl"))
    assert only(machine.shared_memory, subject(bench, profile=through_gpu))[0] == "ok"
    nowhere = HardwareProfile(server=ServerProfile(transfer_folder=bench.folder / "none"))
    assert "is no folder" in only(machine.shared_memory, subject(bench, profile=nowhere))[1]


def test_a_root_that_cannot_be_written_to(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    assert only(machine.registry, subject(bench))[0] == "ok"

    def refuse(**_: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(machine.tempfile, "TemporaryFile", refuse)
    level, message = only(machine.registry, subject(bench))
    assert level == "error" and message.endswith("cannot be written to (Read-only file system)")


def test_a_rendezvous_port_that_is_taken(bench: Bench):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        profile = HardwareProfile.model_validate({"slurm": {"rendezvous_port": taken.getsockname()[1]}})
        assert only(machine.ports, subject(bench, profile=profile))[0] == "warning"
    assert only(machine.ports, subject(bench))[0] == "ok"


def test_launchers_that_would_fall_back_in_silence(bench: Bench):
    def level(**fields: Any) -> str:
        return only(launching.launcher, subject(bench, profile=HardwareProfile(processes=2, **fields)))[0]

    assert level(accelerate_config="zero2.yaml") == level(accelerate_config="fsdp2.yaml", device="cuda") == "ok"
    assert level(accelerate_config="fsdp2.yaml") == "error"  # on a CPU
    assert level(accelerate_config="none.yaml") == "error"


def test_a_lock_that_a_killed_build_left_is_found(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    lock = tmp_path / "py311_cpu" / "deepspeed_shm_comm" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    profile = HardwareProfile(processes=2, accelerate_config="zero3.yaml")
    levels = [level for level, _ in found(launching.launcher, subject(bench, profile=profile))]
    assert levels == ["ok"], "somebody may be building now"
    an_hour_ago = lock.stat().st_mtime - 3600
    os.utime(lock, (an_hour_ago, an_hour_ago))
    (level, message), _ = found(launching.launcher, subject(bench, profile=profile))
    assert level == "warning" and "deepspeed_shm_comm/lock of torch's extensions is 60 min old" in message


def test_slurm_that_answers_and_a_partition_that_is_not_there(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    def about(**fields: Any) -> Subject:
        return subject(bench, profile=HardwareProfile.model_validate({"slurm": fields}))

    assert found(launching.slurm, subject(bench)) == []
    program(bench.folder, "sinfo", "echo gpu; echo short", monkeypatch)
    assert only(launching.slurm, about(partition="gpu")) == ("ok", "answers; partitions: gpu, short")
    assert "no partition is called 'gpus' (there are: gpu, short)" in only(launching.slurm, about(partition="gpus"))[1]
    program(bench.folder, "sinfo", "echo 'Unable to contact controller' >&2; exit 1", monkeypatch)
    assert only(launching.slurm, about()) == ("error", "sinfo does not answer: Unable to contact controller")


def test_secrets_that_the_shell_does_not_have(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    profile = HardwareProfile.model_validate({"setup": {"secrets": ["HF_TOKEN"]}})
    monkeypatch.setenv("HF_TOKEN", "x")
    assert found(machine.secrets, subject(bench, profile=profile)) == []
    monkeypatch.delenv("HF_TOKEN")
    assert only(machine.secrets, subject(bench, profile=profile))[0] == "error"


def test_the_doctor_starts_without_torch(bench: Bench):
    from tests.bench import python

    path = bench.changed()
    program = (
        "import sys; from reasoning_pipeline.__main__ import main; "
        f"main(['doctor', {str(path)!r}, '--root', {str(bench.root)!r}]); "
        "print([m for m in ('torch', 'transformers', 'vllm') if m in sys.modules])"
    )
    done = python("-c", program)
    assert done.stdout.endswith("[]\n"), done.stderr


def test_what_a_step_made_goes_by_the_step_s_name(bench: Bench):
    about = subject(bench)
    made = about.plan.registry.folder / about.plan.step("warmup").output
    assert (about.called(made), about.called(made.name), about.called(Path("models/mine"))) == (
        "warmup",
        "warmup",
        "mine",
    )
