"""The command line of a step's program: one plain process, `accelerate launch`, torchrun, or one of these on each node.

Launchers have ways of their own, each seen: `accelerate launch` starts one process on a CPU unless DeepSpeed is asked
for, so plain data parallelism goes through torchrun there; its default port is the same for two jobs on one node, so a
free one is chosen; a worker's exit status is lost behind both, so a stop is asked for through a file
(run/context.py).
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from reasoning_pipeline.base.files import shipped
from reasoning_pipeline.base.validation import suggestion
from reasoning_pipeline.base.yaml_files import read_yaml
from reasoning_pipeline.beside import LAUNCH
from reasoning_pipeline.errors import PipelineError, RecipeError
from reasoning_pipeline.hardware.addresses import INTERFACE_VARIABLE
from reasoning_pipeline.hardware.profile import HardwareProfile

ACCELERATE_CONFIGS = shipped("reasoning_pipeline.hardware", "accelerate")
_FIRST_PORT, _PORTS = 20_000, 10_000


def launch_command(profile: HardwareProfile, program: list[str]) -> list[str]:
    """What starts a trainer's program behind the profile's launcher. Raises RecipeError where that cannot work."""
    nodes = profile.slurm.training_nodes if profile.slurm is not None else 1
    elsewhere = profile.slurm is not None and profile.slurm.nodes > 1  # not only on the node that the runner is on
    launcher = _torchrun if profile.device == "cpu" and sharding_kind(profile) == "MULTI_GPU" else _accelerate
    if not elsewhere:
        return [sys.executable, *launcher(profile, 1), *program]
    return _on_each_node(profile, nodes, [sys.executable, *launcher(profile, nodes), *program])


def has_launcher(profile: HardwareProfile) -> bool:
    """Whether trainers start behind a launcher in this profile."""
    # accelerate refuses data parallelism over one process, and there is nothing to launch for it.
    return profile.accelerate_config is not None and (profile.processes > 1 or sharding_kind(profile) != "MULTI_GPU")


def accelerate_file(profile: HardwareProfile) -> Path:
    """The configuration that a profile names: a path, or a file in reasoning_pipeline/hardware/accelerate/."""
    assert profile.accelerate_config is not None
    path = Path(profile.accelerate_config)
    path = path if path.is_file() else ACCELERATE_CONFIGS / profile.accelerate_config
    if not path.is_file():
        known = sorted(file.name for file in ACCELERATE_CONFIGS.glob("*.yaml"))
        said = f"no file {profile.accelerate_config!r}{suggestion(profile.accelerate_config, known)}"
        raise RecipeError(profile.name, [f"accelerate_config: {said} (known: {', '.join(known)})"])
    return path


def sharding_kind(profile: HardwareProfile) -> str:
    """The configuration's `distributed_type`: MULTI_GPU (data parallel), DEEPSPEED or FSDP."""
    return str(read_yaml(accelerate_file(profile)).get("distributed_type", "NO"))


def _accelerate(profile: HardwareProfile, nodes: int) -> list[str]:
    command = ["-m", "accelerate.commands.launch", "--config_file", str(accelerate_file(profile))]
    command += ["--num_processes", str(profile.processes)]
    if nodes == 1:
        return [*command, "--main_process_port", "0"]
    host, port = _meeting_point(profile)
    command += ["--num_machines", str(nodes), "--machine_rank", _NODE_RANK]
    return [*command, "--main_process_ip", host, "--main_process_port", str(port)]


def _torchrun(profile: HardwareProfile, nodes: int) -> list[str]:
    command = ["-m", "torch.distributed.run", "--nproc_per_node", str(profile.processes // nodes)]
    if nodes == 1:
        return [*command, "--standalone"]
    host, port = _meeting_point(profile)
    command += ["--nnodes", str(nodes), "--node_rank", _NODE_RANK]
    return [*command, "--master_addr", host, "--master_port", str(port)]


_INTERFACE_VARIABLES = (INTERFACE_VARIABLE, "NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME")

_NODE_RANK = "{node}"
"""Stands for the node's number in a command line until srun has placed it."""


def _on_each_node(profile: HardwareProfile, nodes: int, command: list[str]) -> list[str]:
    """One launcher a node, through srun. A killed node or launcher ends all of them."""
    assert profile.slurm is not None
    hosts = _hosts(profile)
    rank = '"$SLURM_NODEID"'
    line = " ".join(rank if word == _NODE_RANK else shlex.quote(word) for word in command)
    options = [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--kill-on-bad-exit=1"]
    options += ["--overlap"]  # the batch script's own step holds the first node's cores already
    options += ["--mpi=none"]  # where MPI is the cluster's default, PMI's variables would say who a trainer is
    if profile.slurm.trainer_nodes == "others":
        options += [f"--nodelist={','.join(hosts[1:])}"]
    # Slurm gives each task all GPUs of the job on its node; those of a server beside it are not the trainer's.
    own = f"export CUDA_VISIBLE_DEVICES={profile.trainer_devices}; " if profile.trainer_devices is not None else ""
    if (interface := profile.slurm.interface) is not None:
        own += "".join(f"export {name}={interface}; " for name in _INTERFACE_VARIABLES)
    return ["srun", *options, "bash", "-c", f"{own}exec {line}"]


def _meeting_point(profile: HardwareProfile) -> tuple[str, int]:
    """(host, port) of the first trainer node."""
    assert profile.slurm is not None
    hosts = _hosts(profile)
    host = hosts[1] if profile.slurm.trainer_nodes == "others" else hosts[0]
    # Two jobs may share a node; their numbers differ.
    port = profile.slurm.rendezvous_port or _FIRST_PORT + int(os.environ.get("SLURM_JOB_ID", "0")) % _PORTS
    return host, port


def _hosts(profile: HardwareProfile) -> list[str]:
    """Names of the job's nodes, the one that the runner is on first."""
    assert profile.slurm is not None
    nodes = os.environ.get("SLURM_JOB_NODELIST")
    if nodes is None:
        raise PipelineError(
            "a profile of several nodes runs inside a Slurm job", remedy=f"submit with `{LAUNCH} slurm`"
        )
    import subprocess

    listed = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        raise PipelineError(f"`scontrol show hostnames {nodes}` failed: {listed.stderr.strip()}")
    hosts = listed.stdout.split()
    if len(hosts) < profile.slurm.nodes:
        raise PipelineError(
            f"the profile {profile.name!r} asks for {profile.slurm.nodes} nodes, this job has {len(hosts)}",
            remedy=f"submit with `{LAUNCH} slurm`, which asks for them",
        )
    return hosts
