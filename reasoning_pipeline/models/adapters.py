"""What a folder with a low-rank adapter says of itself; no torch."""

from __future__ import annotations

from pathlib import Path

from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.models.description import read_json
from reasoning_pipeline.models.weights import ADAPTER


def check_adapter(adapter: Path, base: Path) -> None:
    """Raises IncompatibleModels where an adapter was made for another base, or is none."""
    found = read_json(adapter / ADAPTER).get("base_model_name_or_path")
    if found != base.name:
        made = f"was made for {found}" if found else f"has no {ADAPTER}"
        raise IncompatibleModels(f"{adapter} {made}, not for {base.name}", remedy="load it with its own base model")


def rank_of(adapter: Path) -> int:
    """Of its two matrices."""
    return int(read_json(adapter / ADAPTER)["r"])
