"""A resume point of one layout in the files of another: nothing is computed, what is whole is only named otherwise.

transformers' trainer looks for an optimizer's state by number in `optimizer.pt` (one process, data parallel), or by
name in `optimizer.bin` beside weights in `pytorch_model_fsdp.bin` (FSDP2). What both read the same way is linked.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from reasoning_pipeline.training.layouts import Layout
from reasoning_pipeline.training.resume import CONVERTED

torch.serialization.register_package(
    100, lambda storage: None, lambda storage, place: storage if place.startswith("cpu:") else None
)
"""accelerate calls the CPU of process 1 `cpu:1`, the trainer loads its optimizer to there, and torch knows no such
place: without this no data parallel training on CPUs resumes ("don't know how to restore data location")."""

_BY_NUMBER, _BY_NAME, _FSDP_WEIGHTS = "optimizer.pt", "optimizer.bin", "pytorch_model_fsdp.bin"


def loadable(point: Path, before: Layout, now: Layout, trainer: Any) -> Path:
    """A folder from which the trainer resumes: the point itself where it can read that, else a converted one beside it,
    which needs as much room as the optimizer's state until the next resume point. Collective."""
    converted = point.parent / CONVERTED
    if (before.sharding == "fsdp2") == (now.sharding == "fsdp2"):
        return point
    if trainer.accelerator.is_main_process:
        shutil.rmtree(converted, ignore_errors=True)
        converted.mkdir()
        for path in point.iterdir():
            if path.name not in (_BY_NUMBER, _BY_NAME, _FSDP_WEIGHTS):
                (converted / path.name).symlink_to(path.resolve())
        if now.sharding == "fsdp2":
            state = torch.load(point / _BY_NUMBER, map_location="cpu", mmap=True, weights_only=True)
            torch.save(by_name(state, before.parameters), converted / _BY_NAME)
            torch.save(_named_weights(point, trainer.model), converted / _FSDP_WEIGHTS)
        else:
            state = torch.load(point / _BY_NAME, map_location="cpu", mmap=True, weights_only=True)
            torch.save(by_number(state, before.parameters), converted / _BY_NUMBER)
    trainer.accelerator.wait_for_everyone()
    return converted


def by_name(state: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """An optimizer's `state_dict()` with its parameters' names instead of their numbers."""
    return {
        "state": {names[number]: values for number, values in state["state"].items()},
        "param_groups": [
            {**group, "params": [names[number] for number in group["params"]]} for group in state["param_groups"]
        ],
    }


def by_number(state: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The reverse."""
    numbers = {name: number for number, name in enumerate(names)}
    return {
        "state": {numbers[name]: values for name, values in state["state"].items()},
        "param_groups": [
            {**group, "params": [numbers[name] for name in group["params"]]} for group in state["param_groups"]
        ],
    }


def _named_weights(point: Path, model: Any) -> dict[str, torch.Tensor]:
    """The point's weights under all names that the model knows them by: a tied head has two and is saved under one."""
    saved = _saved_weights(point)
    whole = model.state_dict(keep_vars=True)
    if hasattr(model, "peft_config"):  # PEFT leaves the adapter's name away in its files
        known = {name.replace(".default.", "."): name for name in whole}
        return {known[name]: tensor for name, tensor in saved.items()}
    places = {id(tensor): name for name, tensor in whole.items() if name in saved}
    return {name: saved[name if name in saved else places[id(tensor)]] for name, tensor in whole.items()}


def _saved_weights(point: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    files = sorted([*point.glob("model*.safetensors"), *point.glob("adapter_model*.safetensors")])
    return {name: tensor for file in files for name, tensor in load_file(file).items()}
