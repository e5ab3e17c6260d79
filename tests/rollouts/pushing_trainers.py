"""Two trainer processes that push by each way of dividing a model. Started by test_trainers.py behind torchrun.

Arguments: the server's URL, its transfer folder, the model's folder. Each push changes the model first, the same way in
every process; adapters under DeepSpeed are trained. The first process prints one JSON line a way. A whole model under
ZeRO-3 is tests/run/test_launch.py's, behind the real launcher.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from reasoning_pipeline.models.loading import load_model
from reasoning_pipeline.rollouts.clients.client import RolloutClient
from reasoning_pipeline.rollouts.weights.push import WeightPush

URL, TRANSFER, FOLDER = (*sys.argv[1:2], *map(Path, sys.argv[2:4])) if __name__ == "__main__" else ("", Path(), Path())
STEPS, SCORED = 2, [[5, 17, 40, 8, 99, 23], [60, 61, 3, 3, 77, 2]]


def adapted(model: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(5)
    return get_peft_model(model, LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "down_proj"]))


def train(model: Any, accelerator: Any) -> Any:
    """Some steps on two rows, which the processes share; the prepared model."""
    adapters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model, optimizer = accelerator.prepare(model, torch.optim.AdamW(adapters, lr=1e-2))
    ids_BT = torch.arange(3, 43).view(2, -1)[accelerator.process_index :: accelerator.num_processes]
    for _ in range(STEPS):
        accelerator.backward(model(input_ids=ids_BT, labels=ids_BT).loss)
        optimizer.step()
        optimizer.zero_grad()
    return model


def changed_model(factor: float) -> Any:
    model = load_model(FOLDER)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(factor)
    return model


def push(name: str, model: Any, accelerator: Any, pushes: int = 2) -> None:
    client = RolloutClient(URL)
    pusher = WeightPush(client, accelerator, TRANSFER, "float32")
    for number in range(pushes):
        pusher.push(model, f"{name}:{number}")
    if accelerator.is_main_process:
        row = {"way": name, "difference": pusher.difference, "full_pushes": pusher.full_pushes}
        print(json.dumps({**row, "scores": client.score(SCORED)}), flush=True)
    accelerator.wait_for_everyone()


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
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    accelerator = Accelerator()
    model = adapted(changed_model(1.3))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    mesh = init_device_mesh("cpu", (accelerator.num_processes,))
    for layer in model.base_model.model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    push("fully_shard + lora", model, accelerator)


def deepspeed_lora(stage: int) -> None:
    accelerator = deepspeed_accelerator(stage)
    model = train(adapted(load_model(FOLDER)), accelerator)
    whole = [parameter.numel() > 0 for name, parameter in model.named_parameters() if ".lora_" in name]
    assert all(whole) if stage == 2 else not any(whole)
    push(f"zero{stage} + lora", model, accelerator, pushes=1)


def deepspeed_accelerator(stage: int, **options: Any) -> Accelerator:
    """A new one, whatever this process had before."""
    from accelerate import DeepSpeedPlugin, PartialState
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    # As transformers does it: processes are found by who asks for CPUs, DeepSpeed is given to who does not.
    PartialState(cpu=True)
    os.environ["ACCELERATE_USE_CPU"] = "false"
    plugin = DeepSpeedPlugin(zero_stage=stage, zero3_init_flag=False)
    accelerator = Accelerator(deepspeed_plugin=plugin, **options)
    assert (accelerator.distributed_type, accelerator.num_processes) == ("DEEPSPEED", 2), accelerator.state
    sizes = {"train_micro_batch_size_per_gpu": 1, "train_batch_size": accelerator.num_processes}
    plugin.deepspeed_config.update(sizes, gradient_clipping=0.0)
    # ZeRO-3 keeps what is smaller whole on every process; by its default that would be everything here, now the norms.
    plugin.deepspeed_config["zero_optimization"]["stage3_param_persistence_threshold"] = 100
    return accelerator


if __name__ == "__main__":
    for way in (ddp, fully_sharded, fully_sharded_lora, lambda: deepspeed_lora(2), lambda: deepspeed_lora(3)):
        way()
    torch.distributed.destroy_process_group()
