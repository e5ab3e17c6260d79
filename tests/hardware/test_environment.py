"""Nothing in the shell says who a step is, or changes what it computes."""

from __future__ import annotations

import json
import os
import sys

import pytest
from rich.console import Console

from reasoning_pipeline.errors import PipelineError, StepFailed
from reasoning_pipeline.hardware.environment import circumstances, devices_of_ours, own_environment
from reasoning_pipeline.hardware.profile import HardwareProfile, ServerProfile, load_profile
from reasoning_pipeline.registry.provenance import provenance
from reasoning_pipeline.rollouts.servers.command import Service, serve_environment
from reasoning_pipeline.run import process, warm_start
from reasoning_pipeline.run.runner import Runner
from tests.bench import Bench

OF_OTHERS = {
    "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "NODE_RANK": "0", "GROUP_RANK": "0",
    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511", "ROLE_RANK": "1", "ROLE_NAME": "default",
    "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_USE_AGENT_STORE": "True", "PET_NPROC_PER_NODE": "8",
    "ACCELERATE_MIXED_PRECISION": "bf16", "ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_USE_CPU": "false",
    "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR", "FSDP_OFFLOAD_PARAMS": "true", "PARALLELISM_CONFIG_TP_SIZE": "2",
    "MEGATRON_LM_TP_DEGREE": "2", "PMI_RANK": "1", "PMI_SIZE": "2", "PMIX_RANK": "1", "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "2", "MV2_COMM_WORLD_RANK": "1", "MPI_LOCALRANKID": "1", "I_MPI_INFO_NUMA_NODE_NUM": "2",
    "XLA_USE_BF16": "1", "VLLM_DP_RANK": "1", "VLLM_PORT": "tcp://10.0.0.7:8000", "AZ_BATCH_MASTER_NODE": "a:1",
    "NCCL_COMM_ID": "10.0.0.7:9000", "VLLM_HOST_IP": "10.0.0.7", "VLLM_MODEL_REDIRECT_PATH": "/etc/models.json",
}  # fmt: skip
OURS = {
    "NCCL_SOCKET_IFNAME": "ib0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "NVIDIA_TF32_OVERRIDE": "0",
    "SLURM_JOB_ID": "17", "OMP_NUM_THREADS": "3", "VLLM_LOGGING_LEVEL": "INFO",
}  # fmt: skip

SHOWN = "import json, os, sys; print(json.dumps(dict(os.environ))); sys.exit(3)"


def environment_of_a_step(bench: Bench, monkeypatch: pytest.MonkeyPatch, **profile: object) -> dict[str, str]:
    """What a step's program finds, started by a runner in a shell with all of the above."""
    for name, value in (OF_OTHERS | OURS).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(process, "step_command", lambda step, profile, context: [sys.executable, "-c", SHOWN])
    hardware = HardwareProfile.model_validate({"engine": "transformers", **profile})
    with pytest.raises(StepFailed):
        Runner(bench.recipe(), hardware, bench.root, Console(quiet=True)).run(until="teacher_base")
    found: dict[str, str] = json.loads((bench.root / "small" / "logs" / "teacher_base.log").read_text())
    return found


def test_a_step_finds_nothing_of_another_launcher_and_all_of_the_machine(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    found = environment_of_a_step(bench, monkeypatch)
    assert sorted(OF_OTHERS & found.keys()) == []
    assert {name: found[name] for name in OURS} == OURS
    assert found["PATH"] == os.environ["PATH"] and found["TOKENIZERS_PARALLELISM"] == "false"


def test_what_a_profile_sets_is_meant(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    found = environment_of_a_step(bench, monkeypatch, environment={"ACCELERATE_DEBUG_MODE": "1", "PMI_SIZE": "7"})
    assert found["ACCELERATE_DEBUG_MODE"] == "1" and found["PMI_SIZE"] == "7" and "RANK" not in found


def test_a_rollout_server_finds_nothing_of_another_launcher(monkeypatch: pytest.MonkeyPatch):
    for name, value in (OF_OTHERS | OURS).items():
        monkeypatch.setenv(name, value)
    hardware = HardwareProfile(server=ServerProfile(environment={"VLLM_PORT": "7000"}))
    found = serve_environment(hardware, Service())
    assert sorted((OF_OTHERS.keys() - {"VLLM_PORT"}) & found.keys()) == [] and found["VLLM_PORT"] == "7000"
    assert {name: found[name] for name in OURS} == OURS


def test_a_forking_process_imports_the_libraries_without_them_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "1")
    with warm_start._environment(own_environment(os.environ)):
        assert "RANK" not in os.environ and "PATH" in os.environ
    assert os.environ["RANK"] == "1"


def test_what_may_change_figures_is_recorded_and_no_secret_or_place_is():
    noise = {
        "VLLM_API_KEY": "k",
        "HF_TOKEN": "t",
        "MASTER_ADDR": "node-7",
        "CUDA_HOME": "/opt/cuda",
        "HOME": "/home/ann",
    }
    behind_a_launcher = {"RANK": "0", "ACCELERATE_MIXED_PRECISION": "bf16"}
    assert circumstances(OURS | noise | behind_a_launcher) == dict(sorted((OURS | behind_a_launcher).items()))


def test_a_record_tells_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    assert provenance("mine", 1.0)["hardware"]["environment"]["NVIDIA_TF32_OVERRIDE"] == "1"


@pytest.mark.parametrize(
    ("wanted", "visible", "found"),
    [
        ("0", None, "0"),
        ("0", "3", "3"),
        ("0,1", "4,5,6,7", "4,5"),
        ("2", "GPU-a,GPU-b,GPU-c", "GPU-c"),
        ("4,5", "4,5", "4,5"),  # no such numbers among two: the machine's own are meant
        ("GPU-a", "GPU-a,GPU-b", "GPU-a"),
    ],
)
def test_devices_are_numbered_among_those_that_the_runner_may_use(wanted: str, visible: str | None, found: str):
    assert devices_of_ours(wanted, visible) == found


@pytest.mark.parametrize(
    ("wanted", "visible", "said"), [("2", "4,5", "leaves 2 (4,5)"), ("0", "", "leaves none"), ("0,1", "3", "leaves 1")]
)
def test_a_device_that_the_runner_may_not_use_is_not_taken(wanted: str, visible: str, said: str):
    with pytest.raises(PipelineError) as refused:
        devices_of_ours(wanted, visible)
    assert f"asks for device {wanted}, and CUDA_VISIBLE_DEVICES {said}" in refused.value.message


def test_on_a_machine_of_several_gpus_one_trainer_sees_one(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    # TRL refuses to train one process over several: transformers would wrap the model in DataParallel
    profile = load_profile("one_gpu_80gb")
    assert profile.trainer_devices == "0" and profile.server.devices_of(0) == "0"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    devices = {"device": "cuda", "trainer_devices": profile.trainer_devices}
    assert environment_of_a_step(bench, monkeypatch, **devices)["CUDA_VISIBLE_DEVICES"] == "2"
