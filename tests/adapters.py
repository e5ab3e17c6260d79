"""Low-rank adapters with large random matrices, in PEFT's files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file


def make_adapter(folder: Path, base: Path, seed: int, *, rank: int = 4) -> None:
    """Of the query projections of every layer."""
    config = json.loads((base / "config.json").read_text())
    size, heads = config["hidden_size"], config["num_attention_heads"] * config["head_dim"]
    draw = np.random.default_rng(seed)
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_"
        tensors[f"{name}A.weight"] = draw.standard_normal((rank, size)).astype(np.float32)
        tensors[f"{name}B.weight"] = draw.standard_normal((heads, rank)).astype(np.float32)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    values = {"peft_type": "LORA", "r": rank, "lora_alpha": 32, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    (folder / "adapter_config.json").write_text(json.dumps({**values, "base_model_name_or_path": base.name}))
