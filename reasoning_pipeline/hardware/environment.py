"""What a program of ours finds in its environment: nothing there may say who it is, or change what it computes, but us.

A shell inside a torchrun worker, a pod of a training operator or an MPI job leaves variables by which libraries decide
how many processes there are and which one this is (`RANK=1`: a trainer that publishes nothing; all of `RANK`,
`WORLD_SIZE`, `MASTER_*`: one that waits for others for ever) and how they compute (`ACCELERATE_MIXED_PRECISION=bf16`:
other weights under the same fingerprint). They are dropped before a step, an evaluation or a server starts; launchers
and profiles set what they mean. What else may change figures or speed stays and is recorded with the result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from reasoning_pipeline.errors import PipelineError

DROPPED = re.compile(
    r"RANK|LOCAL_RANK|NODE_RANK|GROUP_RANK|CROSS_RANK|WORLD_SIZE|LOCAL_WORLD_SIZE|GROUP_WORLD_SIZE|LOCAL_SIZE|CROSS_SIZE"
    r"|MASTER_ADDR|MASTER_PORT|NPROC|FORK_LAUNCHED"
    r"|(ROLE|TORCHELASTIC|TORCH_ELASTIC|PET|RDZV)_\w+"  # torchrun and its options
    r"|(ACCELERATE|FSDP|MEGATRON_LM|PARALLELISM_CONFIG|FP8)_\w+|(USE_TORCH|PJRT|XLA|TPU)_\w+"
    r"|AZ_BATCH\w*_MASTER_NODE|DL[WT]S_JOB_ID|SMDATAPARALLEL_\w+|SM_FRAMEWORK_\w+|SM_HP_MP_PARAMETERS"
    r"|(PMI|PMI2|PMIX|OMPI|MPI|I_MPI|MPIRUN|MV2|MVP|HYDRA|HYDI|PALS|JSM)_\w+"  # MPI's, and Slurm's for MPI
    r"|NCCL_COMM_ID|NCCL_HOSTID|VLLM_DP_\w+|VLLM_PORT|VLLM_HOST_IP|VLLM_LOOPBACK_IP"
    r"|VLLM_MODEL_REDIRECT_PATH|VLLM_USE_MODELSCOPE|VLLM_API_KEY"  # which weights, and who may ask
)
"""Who am I, how many are we, where do we meet; and the settings that launchers hand to trainers."""

RECORDED = re.compile(
    DROPPED.pattern + r"|(NCCL|RCCL|GLOO|UCX|FI|TORCH|TORCHINDUCTOR|PYTORCH|CUDA|CUDNN|CUBLAS|NVIDIA|HIP|ROCR|HSA)_\w+"
    r"|(OMP|MKL|KMP|OPENBLAS|ATEN|ONEDNN|DNNL)_\w+|(DS|DEEPSPEED|TRANSFORMERS|TRL|LIGER|FLASH_ATTENTION|VLLM)_\w+"
    r"|SLURM_(JOB_ID|NNODES|NTASKS|PROCID|LOCALID|NODEID)|TF32\w*|HF_HUB_OFFLINE"
)
_NOT_RECORDED = re.compile(
    r"\w*(KEY|TOKEN|SECRET|PASSWORD|_ADDR|_PORT|_HOST_IP|_HOME|_PATH|_DIR|_FILE|_FOLDER|_FOLDERS|RUN_ID|COMM_ID|HOSTID)"
)
"""Secrets, places and names of machines have no business in a record."""


def own_environment(found: Mapping[str, str]) -> dict[str, str]:
    """The environment without what another launcher left in it."""
    return {name: value for name, value in found.items() if not DROPPED.fullmatch(name)}


def circumstances(found: Mapping[str, str]) -> dict[str, str]:
    """What in this process's environment may change figures or speed, for its record."""
    return {
        name: value
        for name, value in sorted(found.items())
        if RECORDED.fullmatch(name) and not _NOT_RECORDED.fullmatch(name)
    }


def devices_of_ours(wanted: str, visible: str | None) -> str:
    """CUDA_VISIBLE_DEVICES of a program that is to have the devices `wanted`, numbered among those that this process
    may use: a scheduler or a person may have given it only some of the machine's.

    Args:
        visible: CUDA_VISIBLE_DEVICES of this process; None where it is not set, and all devices are ours.

    Raises:
        PipelineError: They are not among ours; another program may be at work on them.

    Example:
        devices_of_ours("0,1", "4,5,6,7")
        "4,5"
    """
    if visible is None:
        return wanted
    ours = [name.strip() for name in visible.split(",") if name.strip()]
    named = [name.strip() for name in wanted.split(",")]
    if all(name.isdigit() and int(name) < len(ours) for name in named):
        return ",".join(ours[int(name)] for name in named)
    if set(named) <= set(ours):
        return wanted  # the machine's own numbers, or identifiers
    raise PipelineError(
        f"the hardware profile asks for device {wanted}, and CUDA_VISIBLE_DEVICES leaves "
        f"{f'{len(ours)} ({visible})' if ours else 'none'}",
        remedy="devices are numbered from 0 among those; ask for more of them, or take a smaller profile",
    )
