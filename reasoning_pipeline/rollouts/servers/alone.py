"""A rollout server alone on a CPU machine, for an evaluation or for `serve`: no trainer wants a share.

`server.threads` and `server.kv_cache_gib` of a profile are what a server takes beside a trainer. Alone it takes all
cores, and for its cache as much as its requests can fill, up to half of the memory that is free.
"""

from __future__ import annotations

import math
from pathlib import Path

import psutil

from reasoning_pipeline.hardware.processor import cores
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.models.architecture import positions
from reasoning_pipeline.models.description import CONFIG, read_json

SHARE_OF_FREE_MEMORY = 0.5
"""The rest is for weights, activations and everybody else."""
BYTES = {"float32": 4, "bfloat16": 2}


def alone_on_this_machine(profile: HardwareProfile, folder: Path, max_model_len: int | None) -> HardwareProfile:
    """The profile with a server that has the machine for itself; the same on devices that have memory of their own.

    Args:
        folder: The model that is served.
        max_model_len: Longest prompt plus completion, in tokens; None for all of the model's positions.
    """
    if profile.device != "cpu":
        return profile
    free = int(SHARE_OF_FREE_MEMORY * psutil.virtual_memory().available / 2**30)
    cache = min(free, _fillable_gib(profile, folder, max_model_len))
    wider = {"threads": cores(), "kv_cache_gib": max(cache, profile.server.kv_cache_gib)}
    return profile.model_copy(update={"server": profile.server.model_copy(update=wider)})


def _fillable_gib(profile: HardwareProfile, folder: Path, max_model_len: int | None) -> int:
    """Keys and values of as many sequences as are written side by side, each of the greatest length."""
    config = read_json(folder / CONFIG)
    config = config.get("text_config") or config
    heads = config["num_attention_heads"]
    width = (config.get("num_key_value_heads") or heads) * (config.get("head_dim") or config["hidden_size"] // heads)
    token = 2 * config["num_hidden_layers"] * width * BYTES[profile.precision]
    length = max_model_len or positions(folder) or 0
    return math.ceil(profile.server.max_sequences * length * token / 2**30)
