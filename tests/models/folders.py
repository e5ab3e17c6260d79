"""Model folders as people bring them, small; each with one thing that has gone wrong somewhere."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file


def copied(model: Path, folder: Path) -> Path:
    """A model's folder without the generation_config.json that transformers wrote into it."""
    shutil.copytree(model, folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    return folder


def edit(path: Path, change: Callable[[Any], object]) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


def says(folder: Path, **settings: Any) -> Path:
    """With a generation_config.json of these settings."""
    (folder / "generation_config.json").write_text(json.dumps(settings))
    return folder


def sharded(folder: Path, parts: int = 3) -> list[Path]:
    """The weights in several files with an index, in place of the one; the files."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    files = [folder / f"model-{part + 1:05}-of-{parts:05}.safetensors" for part in range(parts)]
    index = {}
    for part, file in enumerate(files):
        mine = names[part::parts]
        save_file({name: tensors[name] for name in mine}, file, metadata={"format": "pt"})
        index |= dict.fromkeys(mine, file.name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return files


def with_tensors(folder: Path, **changed: np.ndarray) -> Path:
    """`head=…` sets lm_head.weight, `embedding=…` the embedding."""
    names = {"head": "lm_head.weight", "embedding": "model.embed_tokens.weight"}
    tensors = load_file(folder / "model.safetensors")
    tensors |= {names[name]: value for name, value in changed.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def bfloat16_file(path: Path, values: list[int]) -> None:
    """One tensor `w` of bfloat16 values, given as their bits: numpy has no such type."""
    data = np.array(values, "<u2").tobytes()
    header = json.dumps({"w": {"dtype": "BF16", "shape": [len(values)], "data_offsets": [0, len(data)]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
