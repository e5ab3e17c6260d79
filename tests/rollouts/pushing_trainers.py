"""Two trainer processes that push by each way of dividing a model. Started by test_trainers.py behind torchrun.

Arguments: the server's URL, its transfer folder, the model's folder. Each push changes the model first, the same way in
every process. The first process prints one JSON line a way. ZeRO-3 is tests/run/test_launch.py's, behind the real
launcher.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from reasoning_pipeline.models.loading import load_model
from reasoning_pipeline.rollouts.clients.client import RolloutClient
from reasoning_pipeline.rollouts.weights.push import WeightPush

URL, TRANSFER, FOLDER = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])


def changed_model(factor: float) -> Any:
    model = load_model(FOLDER)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(factor)
    return model


def push(name: str, model: Any, accelerator: Any) -> None:
    pusher = WeightPush(RolloutClient(URL), accelerator, TRANSFER, "float32")
    for number in range(2):
        pusher.push(model, f"{name}:{number}")
    if accelerator.is_main_process:
        print(json.dumps({"way": name, "difference": pusher.difference, "full_pushes": pusher.full_pushes}), flush=True)


def ddp() -> None:
    accelerator = Accelerator()
    model = accelerator.prepare(changed_model(1.1))
    assert type(model).__name__ == "DistributedDataParallel", type(model)
    push("ddp", model, accelerator)


def fully_sharded() -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    accelerator = Accelerator()
    model = changed_model(1.2)
    mesh = init_device_mesh("cpu", (accelerator.num_processes,))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    assert type(model.lm_head.weight).__name__ == "DTensor"
    push("fully_shard", model, accelerator)


def fully_sharded_lora() -> None:
    from peft import LoraConfig, get_peft_model
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    accelerator = Accelerator()
    torch.manual_seed(5)
    model: Any = get_peft_model(changed_model(1.3), LoraConfig(r=4, lora_alpha=16, target_modules="all-linear"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    mesh = init_device_mesh("cpu", (accelerator.num_processes,))
    for layer in model.base_model.model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    push("fully_shard + lora", model, accelerator)


if __name__ == "__main__":
    for way in (ddp, fully_sharded, fully_sharded_lora):
        way()
    torch.distributed.destroy_process_group()
