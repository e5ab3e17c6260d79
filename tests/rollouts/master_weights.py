"""Started by test_master_weights.py behind DeepSpeed in bfloat16: what is published is the optimizer's float32."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from deepspeed.utils import safe_get_full_fp32_param

from reasoning_pipeline.models.loading import load_model
from reasoning_pipeline.rollouts.weights.gathering import whole_tensors

accelerator = Accelerator(mixed_precision="bf16")
sizes = {"train_micro_batch_size_per_gpu": 1, "train_batch_size": int(os.environ["WORLD_SIZE"])}
accelerator.state.deepspeed_plugin.deepspeed_config.update(sizes)
model = load_model(Path(sys.argv[1]))
model, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), lr=1e-5))
ids = torch.arange(3, 40)[None]
for _ in range(3):
    accelerator.backward(model(input_ids=ids, labels=ids).loss)
    optimizer.step()
    optimizer.zero_grad()
inner = accelerator.unwrap_model(model)
masters = {name: safe_get_full_fp32_param(p).clone() for name, p in inner.named_parameters()}
published = {name: tensor.clone() for name, tensor in whole_tensors(inner, masters=True)}
rounded = {name: tensor.float().clone() for name, tensor in whole_tensors(inner)}
assert published.keys() == masters.keys() == rounded.keys()
for name, tensor in published.items():
    assert tensor.dtype == torch.float32 and torch.equal(tensor, masters[name].view_as(tensor)), name
    assert torch.equal(tensor.bfloat16().float(), rounded[name]), name
assert any(not torch.equal(published[name], rounded[name]) for name in published)
if accelerator.is_main_process:
    print("published the master")
