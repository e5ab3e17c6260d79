"""Started by test_master_weights.py in two processes: what DeepSpeed's trainers in bfloat16 publish is the optimizer's
float32. Argument: the model's folder.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import deepspeed
import torch
from deepspeed.utils import safe_get_full_fp32_param
from peft import LoraConfig, get_peft_model

from reasoning_pipeline.models.loading import load_model
from reasoning_pipeline.rollouts.weights.gathering import whole_tensors
from tests.rollouts.pushing_trainers import deepspeed_accelerator

RANK, ALPHA = 4, 16


def whole(parameter: Any) -> torch.Tensor:
    """The optimizer's, or, of a frozen weight, what there is."""
    if parameter.requires_grad:
        return safe_get_full_fp32_param(parameter).clone()  # type: ignore[no-any-return]
    if not hasattr(parameter, "ds_id"):
        return parameter.detach().float().clone()  # type: ignore[no-any-return]
    with deepspeed.zero.GatheredParameters([parameter]):
        return parameter.detach().float().clone()  # type: ignore[no-any-return]


def merged(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """By checkpoint names, each adapter added to its weight."""
    found = {}
    for name in (name for name in values if ".lora_" not in name):
        plain = name.removeprefix("base_model.model.").replace(".base_layer.", ".")
        found[plain] = values[name]
        if ".base_layer." in name:
            down, up = (values[name.replace(".base_layer.", f".lora_{side}.default.")] for side in "AB")
            found[plain] = values[name] + ALPHA / RANK * (up.view(-1, RANK) @ down.view(RANK, -1))
    return found


def check(folder: Path, stage: int, *, lora: bool) -> None:
    accelerator = deepspeed_accelerator(stage, mixed_precision="bf16")
    model: Any = load_model(folder)
    if lora:
        torch.manual_seed(1)
        model = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["q_proj", "down_proj"]))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model, optimizer = accelerator.prepare(model, torch.optim.AdamW(trained, lr=1e-2 if lora else 1e-5))
    ids = torch.arange(3, 40)[None]
    for _ in range(3):
        accelerator.backward(model(input_ids=ids, labels=ids).loss)
        optimizer.step()
        optimizer.zero_grad()
    inner = accelerator.unwrap_model(model)
    masters = merged({name: whole(parameter) for name, parameter in inner.named_parameters()})
    published = {name: tensor.clone() for name, tensor in whole_tensors(inner, masters=True)}
    pushed = {name: tensor.float().clone() for name, tensor in whole_tensors(inner)}
    assert published.keys() == masters.keys() == pushed.keys()
    for name, tensor in published.items():
        expected = masters[name].view_as(tensor)
        if lora and name.endswith(("q_proj.weight", "down_proj.weight")):
            torch.testing.assert_close(tensor, expected, rtol=1e-6, atol=1e-6)
            torch.testing.assert_close(pushed[name], expected, rtol=0.02, atol=0.02)  # of products of bfloat16
        else:
            assert torch.equal(tensor.float(), expected), name
            assert torch.equal(tensor.bfloat16().float(), pushed[name]), name
        assert lora or tensor.dtype == torch.float32, name
    assert any(not torch.equal(published[name].float(), pushed[name]) for name in published)
    if accelerator.is_main_process:
        print(f"the master's: ZeRO-{stage}{' LoRA' if lora else ''}", flush=True)


if __name__ == "__main__":
    for stage, lora in ((2, False), (2, True), (3, False), (3, True)):
        check(Path(sys.argv[1]), stage, lora=lora)
    torch.distributed.destroy_process_group()
