"""Whether a folder's weights are all there, from the headers of its safetensors files: no tensor is read, no torch.

A safetensors file begins with eight bytes, the length of a header in JSON that says where each tensor ends; so a file's
size tells whether it was cut off. Of several files (shards), an index says which there must be.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reasoning_pipeline.errors import RegistryError

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
"""One file, or the index of several: what transformers and vLLM look for, in this order."""
ADAPTER = "adapter_config.json"
UNREADABLE = "no readable safetensors file"
LENGTH_BYTES = 8
NAMED = 3

Header = dict[str, Any]
"""Tensor name -> {"dtype", "shape", "data_offsets"}."""


def read_header(path: Path) -> Header:
    """What a safetensors file holds. Raises RegistryError where it is cut off, or is none."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(LENGTH_BYTES))
            if length > size - LENGTH_BYTES:
                raise ValueError("its header is cut off")
            found = json.loads(file.read(length))
        tensors = {name: entry for name, entry in found.items() if name != "__metadata__"}
        expected = LENGTH_BYTES + length + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    except (ValueError, struct.error, KeyError, TypeError, AttributeError) as error:
        raise RegistryError(f"{path}: {UNREADABLE} ({error})", remedy="copy or download it again") from error
    if size != expected:
        raise RegistryError(
            f"{path}: {UNREADABLE} ({size:,} bytes, its header promises {expected:,})",
            remedy="it was cut off, or changed; copy or download it again",
        )
    return tensors


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the model, all of them. Raises RegistryError naming what is missing."""
    if (folder / WHOLE).is_file():
        return [folder / WHOLE]
    if (folder / INDEX).is_file():
        names = _indexed(folder)
        if missing := [name for name in names if not (folder / name).is_file()]:
            named = ", ".join(missing[:NAMED]) + (", …" if len(missing) > NAMED else "")
            raise RegistryError(
                f"{folder}: {len(missing)} of {len(names)} files of weights are missing ({named})",
                remedy=f"copy or download them again; {INDEX} names them all",
            )
        return [folder / name for name in names]
    raise _without_weights(folder)


def tensors(folder: Path) -> Header:
    """Every tensor of the model, and that the files hold what the index says. Raises RegistryError."""
    found: Header = {}
    for path in weight_files(folder):
        found |= read_header(path)
    if not (folder / WHOLE).is_file():
        missing = [name for name in _weight_map(folder) if name not in found]
        if missing:
            raise RegistryError(
                f"{folder}: {len(missing)} tensors that {INDEX} names are in no file, the first {missing[0]}",
                remedy="files of two versions of the model are mixed; copy or download all of them again",
            )
    return found


def raw(folder: Path, name: str) -> bytes:
    """A tensor's bytes as they stand in the files."""
    for path in weight_files(folder):
        for found, _, data in _read(path, only=name):
            if found == name:
                return data
    raise KeyError(name)


def not_finite(folder: Path) -> str | None:
    """The first tensor that holds a NaN or an infinity; None where there is none. Reads all weights."""
    import numpy as np

    # A float whose exponent bits are all set is infinite or no number; numpy lacks bfloat16, not its bits.
    exponents = {"F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80), "F32": ("<u4", 0x7F800000)}
    for path in weight_files(folder):
        for name, dtype, data in _read(path):
            if dtype in exponents:
                kind, bits = exponents[dtype]
                if np.any(np.frombuffer(data, kind) & bits == bits):
                    return name
    return None


def _read(path: Path, only: str | None = None) -> Iterator[tuple[str, str, bytes]]:
    """(name, dtype, bytes) of one tensor after the other, or of the one that is wanted."""
    header = read_header(path)
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(LENGTH_BYTES))
        for name, entry in header.items():
            if only in (None, name):
                first, last = entry["data_offsets"]
                file.seek(LENGTH_BYTES + length + first)
                yield name, entry["dtype"], file.read(last - first)


def _weight_map(folder: Path) -> dict[str, str]:
    try:
        found = dict(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"])
        if not found:
            raise ValueError("it names no tensor")
        return found
    except (ValueError, KeyError, TypeError) as error:
        raise RegistryError(f"{folder / INDEX}: no index of weights ({error})", remedy="copy it again") from error


def _indexed(folder: Path) -> list[str]:
    return sorted(set(_weight_map(folder).values()))


def _without_weights(folder: Path) -> RegistryError:
    found = sorted(folder.glob("*.safetensors"))
    below = sorted({path.parent.name for path in folder.glob("*/*.safetensors")})

    def say(what: str, remedy: str) -> RegistryError:
        return RegistryError(f"{folder}: {what}", remedy=remedy)

    if (folder / ADAPTER).is_file():
        return say("an adapter, not a model", "merge it into its base model (`merge_and_unload`) and save that")
    if found:
        names = ", ".join(path.name for path in found[:NAMED])
        return say(
            f"neither {WHOLE} nor {INDEX} (found {names})", "save the model with `save_pretrained`, or add the index"
        )
    if below:
        return say(
            f"no weights here, but in {', '.join(below)}/", f"give the folder that holds them: {folder / below[0]}"
        )
    listed = ", ".join(sorted(path.name for path in folder.iterdir())[:8])
    return say(
        f"a model folder without weights (no *.safetensors; found {listed})",
        "save the model with `save_pretrained`; pickled weights are not loaded",
    )
