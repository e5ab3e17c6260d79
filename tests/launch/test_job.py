"""Inside a job: whether it is queued again, and the command lines with which trainers start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from launch.job import after_stop, note_start, progress_mark
from launch.script import REQUEUE_STATUS
from reasoning_pipeline.errors import PipelineError, RecipeError, Stopped
from reasoning_pipeline.hardware.cluster import SlurmProfile, server_host
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.rollouts.clients.client import RolloutClient
from reasoning_pipeline.rollouts.weights.vllm_transport import meeting_address
from reasoning_pipeline.run.context import StageContext
from reasoning_pipeline.run.process import step_command
from tests.launch.conftest import Bench

CLUSTER = HardwareProfile(slurm=SlurmProfile(max_requeues=3))


def reach(work: Path, optimizer_step: int) -> None:
    """A resume point at this optimizer step."""
    point = work / "checkpoints" / f"checkpoint-{optimizer_step}"
    point.mkdir(parents=True)
    (point / "complete").touch()


def test_a_stopped_job_is_queued_again_until_two_runs_brought_nothing(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    note_start(tmp_path)  # at step 0
    assert after_stop(tmp_path, CLUSTER) == REQUEUE_STATUS, "one run without progress may be bad luck"
    note_start(tmp_path)
    reach(tmp_path, 5)
    assert after_stop(tmp_path, CLUSTER) == REQUEUE_STATUS
    note_start(tmp_path)  # at step 5
    assert after_stop(tmp_path, CLUSTER) == REQUEUE_STATUS
    note_start(tmp_path)  # and again
    assert after_stop(tmp_path, CLUSTER) == Stopped.exit_status
    assert "no progress in 2 runs in a row (still at optimizer step 5)" in capsys.readouterr().err


def test_rollouts_written_are_progress_and_a_half_written_resume_point_is_none(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "checkpoint-7").mkdir(parents=True)  # without its marker
    assert progress_mark(tmp_path) == [0, 0]
    (tmp_path / "rollouts.jsonl").write_text("{}\n")
    assert progress_mark(tmp_path) == [0, 3]


def test_requeues_are_counted_and_capped(tmp_path, capsys, monkeypatch) -> None:
    for count, status in ((2, REQUEUE_STATUS), (3, Stopped.exit_status)):
        monkeypatch.setenv("SLURM_RESTART_COUNT", str(count))
        note_start(tmp_path)
        reach(tmp_path, count)
        assert after_stop(tmp_path, CLUSTER) == status
    assert "queued again 3 times already, which is slurm.max_requeues" in capsys.readouterr().err


def test_a_stop_file_asks_as_a_signal_does(tmp_path: Path) -> None:
    context = StageContext.__new__(StageContext)
    context.stop_file, context._asked_to_stop, context._looked = tmp_path / "stop", [], 0.0
    assert not context.should_stop()
    context.stop_file.touch()
    context._looked = 0.0  # it looks once a second
    assert context.should_stop()


def test_slurm_s_signal_and_the_runner_s_are_one_request() -> None:
    # Slurm signals every process of a job, and the runner then passes its own on to the step
    program = (
        "import time; from reasoning_pipeline.run.context import StageContext\n"
        "context = StageContext.__new__(StageContext)\n"
        "context.stop_file, context._asked_to_stop, context._looked = None, [], 0.0\n"
        "with context.watching_signals():\n"
        "    print('ready', flush=True); time.sleep(0.5); time.sleep(0.5); print(context.should_stop())\n"
    )
    step = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert step.stdout is not None and step.stdout.readline() == "ready\n"
    for _ in range(2):
        os.kill(step.pid, signal.SIGTERM)
        time.sleep(0.1)
    assert (step.communicate()[0], step.returncode) == ("True\n", 0)


def command(bench: Bench, monkeypatch: pytest.MonkeyPatch, *, job: bool = False, **values: Any) -> list[str]:
    """The command line of a GRPO step, in a job of two nodes or outside of one."""
    monkeypatch.delenv("SLURM_JOB_NODELIST", raising=False)
    if job:
        scontrol = bench.folder / "bin" / "scontrol"
        scontrol.parent.mkdir(exist_ok=True)
        scontrol.write_text("#!/bin/sh\nprintf 'node7\\nnode9\\n'\n")
        scontrol.chmod(0o755)
        monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
        monkeypatch.setenv("SLURM_JOB_NODELIST", "node[7,9]")
        monkeypatch.setenv("SLURM_JOB_ID", "31234567")
    (bench.folder / "runs").mkdir(exist_ok=True)
    step = make_plan(load_recipe(bench.recipe("small")), bench.root).step("rl")
    words = step_command(step, HardwareProfile.model_validate(values), Path("context.json"))
    return ["python" if word == sys.executable else word for word in words]


def test_one_process_is_started_plainly_and_several_behind_what_starts_them_all(bench: Bench, monkeypatch) -> None:
    program = ["-m", "reasoning_pipeline.run.program", "context.json"]
    assert command(bench, monkeypatch) == ["python", *program]
    assert command(bench, monkeypatch, accelerate_config="ddp.yaml") == ["python", *program]
    ddp = {"processes": 2, "accelerate_config": "ddp.yaml"}
    torchrun = ["python", "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", *program]
    assert command(bench, monkeypatch, **ddp) == torchrun, "accelerate would start a single one on a CPU"
    on_gpus = command(bench, monkeypatch, **ddp, device="cuda")
    assert on_gpus[1:3] == ["-m", "accelerate.commands.launch"]
    assert on_gpus[5:] == ["--num_processes", "2", "--main_process_port", "0", *program]


def test_several_nodes_get_a_launcher_each_and_meet_on_the_first_trainer_node(bench: Bench, monkeypatch) -> None:
    two = {"device": "cuda", "processes": 8, "accelerate_config": "zero3.yaml", "slurm": {"nodes": 2}}
    srun, *_, line = command(bench, monkeypatch, job=True, **two)
    assert srun == "srun"
    assert '--num_processes 8 --num_machines 2 --machine_rank "$SLURM_NODEID"' in line
    assert "--main_process_ip node7 --main_process_port 24567" in line  # 20000 + 31234567 % 10000
    *_, line = command(bench, monkeypatch, job=True, **two, trainer_devices="4,5,6,7")
    assert line.startswith("export CUDA_VISIBLE_DEVICES=4,5,6,7; exec ")
    others = two | {"slurm": {"nodes": 2, "trainer_nodes": "others"}}
    alone = command(bench, monkeypatch, job=True, **others)
    assert alone[0] == "srun" and "--nodelist=node9" in alone
    assert "--main_process_port 0" in alone[-1], "one trainer node: no meeting between nodes"
    with pytest.raises(PipelineError, match="runs inside a Slurm job"):
        command(bench, monkeypatch, **two)
    with pytest.raises(RecipeError, match="no file 'ddp'"):
        command(bench, monkeypatch, processes=2, accelerate_config="ddp")


def test_servers_listen_beyond_loopback_only_for_trainers_on_other_nodes(monkeypatch) -> None:
    two = SlurmProfile(nodes=2)
    monkeypatch.setattr("socket.gethostbyname", {"node7": "10.0.0.7"}.get)
    monkeypatch.setenv("SLURMD_NODENAME", "node7")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    assert server_host(two) == "10.0.0.7"
    assert server_host(None) == server_host(SlurmProfile()) == "127.0.0.1"
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "1")  # an evaluation of the same profile
    assert server_host(two) == "127.0.0.1"


def addresses(monkeypatch, **interfaces: str) -> None:
    """A node with these interfaces, whose name is loopback's, as Debian installs it."""
    inet = {name: [SimpleNamespace(family=socket.AF_INET, address=address)] for name, address in interfaces.items()}
    monkeypatch.setattr("psutil.net_if_addrs", lambda: inet)
    monkeypatch.setattr("socket.gethostbyname", lambda name: "127.0.1.1")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    monkeypatch.setenv("SLURMD_NODENAME", "node7")


def test_a_name_that_is_loopback_is_refused_where_other_nodes_have_to_come(monkeypatch) -> None:
    addresses(monkeypatch, lo="127.0.0.1", eth0="10.0.0.7", ib0="10.1.0.7")
    with pytest.raises(PipelineError, match=r"node7 resolves to 127\.0\.1\.1, which no other node reaches") as refused:
        server_host(SlurmProfile(nodes=2))
    assert "one of: eth0 (10.0.0.7), ib0 (10.1.0.7)" in str(refused.value)
    assert server_host(SlurmProfile(nodes=2, interface="ib0")) == "10.1.0.7"
    with pytest.raises(PipelineError, match="no network interface 'ib1'"):
        server_host(SlurmProfile(nodes=2, interface="ib1"))


def test_trainers_on_other_nodes_are_met_by_the_interface_of_the_profile(bench: Bench, monkeypatch) -> None:
    slurm = {"nodes": 2, "trainer_nodes": "others", "interface": "ib0"}
    trainer = {"device": "cuda", "processes": 8, "accelerate_config": "fsdp2.yaml", "slurm": slurm}
    *_, line = command(bench, monkeypatch, job=True, **trainer)
    assert line.startswith("export REASONING_PIPELINE_INTERFACE=ib0; export NCCL_SOCKET_IFNAME=ib0; export GLOO_SOCKET")
    addresses(monkeypatch, ib0="10.1.0.9")
    there, here = RolloutClient("http://10.1.0.7:8000"), RolloutClient("http://127.0.0.1:8000")
    with pytest.raises(PipelineError, match=r"resolves to 127\.0\.1\.1"):
        meeting_address([there])
    assert meeting_address([here]) == "127.0.1.1", "servers of the same machine come by loopback as well"
    monkeypatch.setenv("REASONING_PIPELINE_INTERFACE", "ib0")
    assert meeting_address([there]) == "10.1.0.9"
