"""PyTorch's FSDP2 on a machine without GPUs, for tests: accelerate is told that its CPU processes hold GPUs.

accelerate switches FSDP on by the kind of device alone (`distributed_type` MULTI_GPU) and runs plain data parallelism
on CPUs. Everything below that decision works there: `fully_shard` divides the model over gloo, and transformers'
trainer saves, gathers and resumes through the same code as on GPUs. So one attribute is changed, right after accelerate
has found out where it is (`hook/sitecustomize.py`), in processes that `accelerate launch` has told to use FSDP and in
no other.

A test gives a hardware profile this environment and the shipped configuration:

    HardwareProfile(device="cpu", processes=2, accelerate_config="fsdp2.yaml", environment=ENVIRONMENT)

and starts it as any profile is started: `launch_command(profile, …)`, or a runner with `--hardware`. Trainers see FSDP2
with gloo; `check_launch` is satisfied because `distributed_type` is FSDP, as it would be on GPUs. What this cannot
show: speed, memory, mixed precision kernels, NCCL, and whatever asks `torch.cuda` itself.
"""

from __future__ import annotations

import os
from pathlib import Path

HOOK = Path(__file__).parent / "hook"
PROJECT = Path(__file__).resolve().parents[2]

ENVIRONMENT = {"PYTHONPATH": os.pathsep.join(map(str, (HOOK, PROJECT))), "OMP_NUM_THREADS": "1"}
"""`environment` of a profile whose trainers are to have FSDP2 on CPUs."""
