"""Whether a folder's weights are all there, from the headers of its safetensors files: no tensor is read, no torch.

A safetensors file begins with eight bytes, the length of a header in JSON that says where each tensor ends; so a file's
size tells whether it was cut off. Of several files (shards), an index says which there must be.
"""

from __future__ import annotations

import json
import math
import re
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
LARGEST_HEADER = 100_000_000
"""Bytes; what the format's own library reads at most."""
NAMED = 3
_BITS = re.compile(r"[A-Z]+(\d+)")
"""Of a type's name: F8_E4M3, BF16, I64; BOOL takes a byte."""

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
            if length > LARGEST_HEADER:
                raise ValueError(f"a header of {length:,} bytes")
            found = json.loads(file.read(length), object_pairs_hook=_each_once)
        tensors = {name: entry for name, entry in found.items() if name != "__metadata__"}
        expected = LENGTH_BYTES + length + _end_of(tensors)
    except (ValueError, struct.error, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RegistryError(f"{path}: {UNREADABLE} ({error})", remedy="copy or download it again") from error
    if size != expected:
        raise RegistryError(
            f"{path}: {UNREADABLE} ({size:,} bytes, its header promises {expected:,})",
            remedy="it was cut off, or changed; copy or download it again",
        )
    return tensors


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it names {next(name for name in names if names.count(name) > 1)} twice")
    return found


def _end_of(tensors: Header) -> int:
    """Bytes of all tensors, which lie end to end. Raises ValueError where they do not, or one has another size."""
    at = 0
    for first, last, name in sorted((*entry["data_offsets"], name) for name, entry in tensors.items()):
        if first != at or last < first:
            raise ValueError(f"{name} begins at {first:,}, where {at:,} bytes are taken")
        dtype, values = tensors[name]["dtype"], math.prod(tensors[name]["shape"])
        bits = int(match[1]) if (match := _BITS.match(dtype)) is not None else 8
        if values * bits != (last - first) * 8:
            raise ValueError(f"{name} has {last - first:,} bytes for {values:,} values of {dtype}")
        at = last
    return at


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the model, all of them. Raises RegistryError naming what is missing."""
    if (folder / WHOLE).is_file():
        return [folder / WHOLE]
    if (folder / INDEX).is_file():
        names = indexed_files(folder)
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
        header = read_header(path)
        if twice := next((name for name in header if name in found), None):
            raise RegistryError(
                f"{folder}: {twice} is in two files, one of them {path.name}",
                remedy="files of two versions of the model are mixed; copy or download all of them again",
            )
        found |= header
    if not (folder / WHOLE).is_file():
        missing = [name for name in _weight_map(folder) if name not in found]
        if missing:
            raise RegistryError(
                f"{folder}: {len(missing)} tensors that {INDEX} names are in no file, the first {missing[0]}",
                remedy="files of two versions of the model are mixed; copy or download all of them again",
            )
    return found


def homes(folder: Path) -> tuple[Path, ...]:
    """The folders in which a model's files really lie: the hub's cache keeps them elsewhere, and links to them."""
    return tuple(dict.fromkeys((folder, *(path.resolve().parent for path in weight_files(folder)))))


def raw(folder: Path, name: str) -> bytes:
    """A tensor's bytes as they stand in the files."""
    for path in weight_files(folder):
        for found, _, data in _read(path, only=name):
            if found == name:
                return data
    raise KeyError(name)


def not_finite(path: Path) -> str | None:
    """The first tensor of a file that holds a NaN or an infinity; None where there is none. Reads all of it."""
    import numpy as np

    # A float whose exponent bits are all set is infinite or no number; numpy lacks bfloat16, not its bits.
    exponents = {
        "F16": ("<u2", 0x7C00),
        "BF16": ("<u2", 0x7F80),
        "F32": ("<u4", 0x7F800000),
        "F64": ("<u8", 0x7FF0 << 48),
    }
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
    """Raises RegistryError; for a file that does not lie beside it, too: it would be no part of the fingerprint, and
    a server would not look for it there."""
    try:
        found = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
        if not isinstance(found, dict) or not found:
            raise ValueError("its weight_map names no tensor")
        if others := [name for name in found.values() if not _is_beside(name)]:
            raise ValueError(f"it names {others[0]!r}, which is no safetensors file beside it")
        return found
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RegistryError(
            f"{folder / INDEX}: no index of weights ({error})", remedy="copy it again, with the files that it names"
        ) from error


def _is_beside(name: object) -> bool:
    return isinstance(name, str) and name.endswith(".safetensors") and Path(name).name == name and "\\" not in name


def indexed_files(folder: Path) -> list[str]:
    """Names of the files that the index names; none where there is no index. Raises RegistryError."""
    return sorted(set(_weight_map(folder).values())) if (folder / INDEX).is_file() else []


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
