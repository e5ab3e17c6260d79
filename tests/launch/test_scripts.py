"""What would be submitted: whole scripts against golden text, and what is refused before anything is queued."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from launch import queue
from launch.jobs import Job
from launch.submission import dependency
from reasoning_pipeline.hardware.cluster import Setup, SlurmProfile
from reasoning_pipeline.hardware.profile import HardwareProfile
from tests.launch import golden
from tests.launch.conftest import PROJECT, Bench, launch


@pytest.mark.parametrize("name", list(golden.cases()))
def test_the_scripts_of_every_profile_are_as_agreed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_CONF", raising=False)
    path = golden.FOLDER / f"{name}.txt"
    assert path.is_file(), golden.ACCEPT
    assert golden.printed(*golden.cases()[name]) == path.read_text(), golden.ACCEPT


@pytest.mark.parametrize("name", list(golden.cases()))
def test_bash_accepts_every_script(name: str) -> None:
    text = (golden.FOLDER / f"{name}.txt").read_text()
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_dry_run_writes_nothing_and_loads_no_torch(bench: Bench) -> None:
    recipe, profile = bench.recipe("small"), bench.profile()
    check = (
        "import sys; from launch.__main__ import main; status = main(sys.argv[1:]);"
        "print([name for name in ('torch', 'transformers', 'vllm', 'datasets') if name in sys.modules]);"
        "sys.exit(status)"
    )
    arguments = ["slurm", recipe, "--hardware", profile, "--root", bench.root, "--dry-run"]
    done = subprocess.run([sys.executable, "-c", check, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[2] == "### 2 jobs; nothing was submitted" and lines[-1] == "[]", "the summary comes first"
    assert not bench.root.exists()


def test_a_dry_run_downloads_nothing_and_names_what_jobs_will_need() -> None:
    status, printed = launch(
        "slurm", PROJECT / "recipes/qwen3_1.7b_math.yaml", "--hardware", "two_nodes", "--dry-run"
    )  # fmt: skip
    assert status == 0
    assert "is not in this machine's cache of data sets: `python -m launch prefetch" in printed.splitlines()[0]
    times = dict(line.split()[1:7:5] for line in printed.splitlines()[1:] if " GPUs a node " in line)
    assert times["teacher_rl"] == "24:00:00" and times["warmup.c2"] == "01:00:00", "what trains nothing asks for less"


def test_a_task_of_an_array_waits_for_its_own_seed_alone() -> None:
    matched = Job("rl", (), ("base", "base@1"), matched=True)
    together = Job("rl", (), ("base", "other"))
    numbers = {"base": "7_0", "base@1": "7_1", "other": "9"}
    assert dependency(matched, numbers) == "aftercorr:7"
    assert dependency(together, numbers) == "afterok:7_0:9"
    assert dependency(Job("base", (), ()), {}) is None


@pytest.mark.parametrize(
    ("top", "slurm", "sentence"),
    [
        ({"processes": 3, "accelerate_config": "zero3.yaml", "engine": "vllm"}, {},
         "processes: 3 do not divide the global batch of 8 (rl)"),
        ({"processes": 2, "accelerate_config": "zero9.yaml", "engine": "vllm"}, {}, "no file 'zero9.yaml'; did you"),
        ({"device": "cuda", "processes": 8, "accelerate_config": "ddp.yaml", "engine": "vllm"}, {"gpus_per_node": 4},
         "8 processes a node have 4 devices there"),
        ({"device": "cuda", "processes": 3, "accelerate_config": "ddp.yaml", "engine": "vllm",
          "trainer_devices": "0,1"}, {}, "3 processes a node have 2 devices there"),
        ({"processes": 3, "accelerate_config": "ddp.yaml", "engine": "vllm"}, {"nodes": 2},
         "3 processes do not divide over 2 trainer nodes"),
        ({}, {"signal": "USR1"}, "USR1 has a meaning of its own"),
        ({}, {"signal": "TERM"}, "TERM has a meaning of its own"),
        ({}, {"time_limit": "soon"}, "slurm.time_limit"),
        ({}, {"options": ["exclusive"]}, "'exclusive' is no option of sbatch"),
        ({}, {"by_stage": {"evaluate": {"gpu": 1}}}, "gpu"),
        ({}, {"trainer_nodes": "others"}, "trainer_nodes 'others' needs at least 2 nodes"),
        ({"stop_grace_s": 90}, {}, "signal_lead_s must be longer than stop_grace_s"),
        ({"setup": {"environment": {"HF_TOKEN": "hf_abc"}}}, {}, "HF_TOKEN looks like a secret"),
        ({"setup": {"conda": "x", "container": {"runtime": "pyxis", "image": "y"}}}, {}, "`conda` or `container`"),
        ({"setup": {"container": {"runtime": "pyxis", "image": "y"}}, "processes": 2,
          "accelerate_config": "ddp.yaml", "engine": "vllm"}, {"nodes": 2}, "srun is not in the image"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_anything_is_queued(bench: Bench, top, slurm, sentence) -> None:
    status, printed = bench.launch(
        "slurm", bench.recipe("small"), "--hardware", bench.profile("bad", top, **slurm), "--dry-run"
    )
    assert status == 2 and sentence in printed, printed


def test_a_profile_without_slurm_says_what_is_missing(bench: Bench) -> None:
    status, printed = bench.launch("slurm", bench.recipe("small"), "--hardware", "cpu", "--dry-run")
    assert status == 2 and "slurm: missing" in printed


def test_a_secret_that_is_not_exported_is_named_and_one_that_is_written_out_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    recipe = bench.recipe("small")
    wants = bench.profile("wants", {"setup": {"secrets": ["WANDB_API_KEY"]}})
    status, printed = bench.launch("slurm", recipe, "--hardware", wants)
    assert status == 1 and "needs WANDB_API_KEY in the environment" in printed
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    tells = bench.profile("tells", {"setup": {"commands": ["export WANDB_API_KEY=0123456789abcdef"]}})
    status, printed = bench.launch("slurm", recipe, "--hardware", tells, "--dry-run")
    assert status == 1 and "would hold the value of WANDB_API_KEY" in printed and "0123456789" not in printed


def fake(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def test_without_slurm_the_remedy_says_where_to_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    status, printed = bench.launch("slurm", bench.recipe("small"), "--hardware", bench.profile())
    assert status == 1 and "is not on this machine" in printed and "login node" in printed


def test_a_partition_that_does_not_exist_is_found_before_the_first_job(bench: Bench, tmp_path, monkeypatch) -> None:
    fake(tmp_path / "bin", "sinfo", "printf 'gpu\\ncpu\\n'")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    recipe = bench.recipe("small")
    status, printed = bench.launch("slurm", recipe, "--hardware", bench.profile(), "--partition", "gpuu")
    assert status == 1, printed
    assert "no partition is called 'gpuu'; did you mean \"gpu\"? (partitions: cpu, gpu)" in printed
    assert not (bench.root / "small" / "slurm.json").exists()


def test_sbatch_s_own_words_are_shown_and_what_was_queued_before_is_recorded(
    bench: Bench, tmp_path, monkeypatch
) -> None:
    fake(tmp_path / "bin", "sinfo", "echo main")
    refusal = "sbatch: error: Batch job submission failed: Job violates accounting policy"
    fake(tmp_path / "bin", "sbatch", f"case $* in *base.sh) echo 41;; *) echo '{refusal}' >&2; exit 1;; esac")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    recipe = bench.recipe("small")
    status, printed = bench.launch("slurm", recipe, "--hardware", bench.profile())
    assert status == 1 and "step rl: `sbatch --parsable --dependency=afterok:41" in printed and refusal in printed
    assert [entry["job"] for entry in bench.submissions(recipe)] == ["41"]


def test_a_busy_controller_is_not_waited_for_for_ever(tmp_path, monkeypatch) -> None:
    fake(tmp_path / "bin", "squeue", "sleep 30")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(queue, "ANSWER_SECONDS", 0.2)
    with pytest.raises(queue.QueueError, match="did not answer within"):
        queue.mine()


def test_a_node_without_the_shared_folder_says_so(bench: Bench, tmp_path: Path) -> None:
    script = golden.printed(golden.EXAMPLES / "one_gpu.yaml", ("--only", "base")).replace(
        "FOLDER", str(tmp_path / "gone")
    )
    done = subprocess.run(["bash"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "does not see" in done.stderr and "all nodes share" in done.stderr


def test_a_changed_recipe_is_not_mistaken_for_the_submitted_one(bench: Bench) -> None:
    recipe, profile = bench.recipe("small"), bench.profile()
    status, printed = bench.launch(
        "job", recipe, "--hardware", profile, "--step", "base", "--expect", "pretrain-0000000000000000"
    )
    assert status == 1 and "was submitted as pretrain-0000000000000000 and is pretrain-" in printed


def test_requests_of_a_stage_and_of_the_command_line_lie_over_the_profile_s() -> None:
    slurm = SlurmProfile(partition="gpu", account="a", by_stage={"evaluate": {"partition": "small", "mem": "8G"}})
    assert slurm.request("sparse_grpo").partition == "gpu" and slurm.request("evaluate").partition == "small"
    changed = slurm.changed({"partition": "other"}).request("evaluate")
    assert (changed.partition, changed.account, changed.mem) == ("other", "a", "8G")


def test_offline_nodes_get_their_cache_and_no_network() -> None:
    exports = Setup(hf_home="/shared/hf", offline=True, environment={"A": "b"}).exports()
    offline = dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"), "1")
    assert exports == {"HF_HOME": "/shared/hf", "A": "b", **offline}
    assert HardwareProfile().setup.exports() == {}


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    from launch.__main__ import main

    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert all(word in out for word in ("slurm", "status", "cancel", "prefetch"))
