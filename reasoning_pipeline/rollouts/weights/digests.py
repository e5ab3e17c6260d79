"""Checksums of blocks of tensors, equal on both sides exactly where the bits are equal. numpy only, no torch.

The probe sees what a model computes, but a late optimizer step moves its log-probabilities by less than any tolerance
for rounding: a push that did nothing would pass. So both sides also hash one block of every tensor, in the dtype in
which the server holds it; the blocks move on with every push until every element has been compared.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BYTES_PER_PUSH = 16 * 2**20
"""Hashed on each side, all tensors together, in float32: about 10 ms."""

NUMPY_TYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}
"""bfloat16 has no numpy type; it travels as its bits."""
SAFETENSORS_TYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True)
class Block:
    """Elements `start` to `stop` of a tensor of this shape, counted row by row."""

    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Digest:
    """A block's checksum, and the dtype in which it was taken.

    Example:
        Digest(dtype="bfloat16", checksum="9f0c2a61")
    """

    dtype: str
    checksum: str


def chosen_blocks(shapes: Mapping[str, tuple[int, ...]], turn: int) -> dict[str, Block]:
    """One block of each tensor for this turn; consecutive turns walk through each tensor and start again.

    Half of the bytes are shared out evenly, so that no tensor is left out, half by size, so that all finish together.
    """
    sizes = {name: int(np.prod(shape, dtype=np.int64)) for name, shape in shapes.items()}
    half, total = BYTES_PER_PUSH // 8, max(1, sum(sizes.values()))
    blocks = {}
    for name, size in sizes.items():
        share = max(1, -(-half // len(sizes)) + -(-half * size // total))
        start = turn % max(1, -(-size // share)) * share
        blocks[name] = Block(tuple(shapes[name]), start, min(size, start + share))
    return blocks


def whole_blocks(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Block]:
    """Everything, for the push that has to find out which tensor differs."""
    return {name: Block(tuple(shape), 0, int(np.prod(shape, dtype=np.int64))) for name, shape in shapes.items()}


def checksum(values: NDArray) -> str:
    """CRC-32: accidents are to be noticed, not forgers, and it is three times as fast as a cryptographic hash."""
    return f"{zlib.crc32(np.ascontiguousarray(values).data.cast('B')):08x}"


def first_difference(ours: Mapping[str, Digest], theirs: Mapping[str, Digest | None]) -> str | None:
    """The first tensor, in our order, whose checksums differ; None if all agree.

    A tensor the server cannot show whole (divided over several GPUs, or repacked for a kernel) is not compared.
    """
    for name, digest in ours.items():
        other = theirs.get(name)
        if other is not None and other != digest:
            return name
    return None


def as_dtype(values: NDArray, found: str, wanted: str) -> NDArray:
    """The same numbers in another dtype, rounded to nearest even as torch does, bit for bit (but for NaN)."""
    if found == wanted:
        return values
    widened = (values.astype(np.uint32) << 16).view(np.float32) if found == "bfloat16" else values
    single = widened.astype(np.float32)
    if wanted == "float32":
        return single
    if wanted == "float16":
        return single.astype(np.float16)
    bits = single.view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(single), np.uint16(0x7FC0), rounded)


class CheckpointFiles:
    """The tensors of a folder's safetensors files, read a block at a time."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._entries: dict[str, tuple[Path, int, str, tuple[int, ...]]] = {}
        for path in files:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length))
            for name, entry in header.items():
                if name != "__metadata__" and entry["dtype"] in SAFETENSORS_TYPES:
                    dtype, shape = SAFETENSORS_TYPES[entry["dtype"]], tuple(entry["shape"])
                    self._entries[name] = (path, 8 + length + entry["data_offsets"][0], dtype, shape)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: shape for name, (_, _, _, shape) in self._entries.items()}

    def digest(self, name: str, block: Block, dtype: str) -> Digest:
        path, begin, found, _ = self._entries[name]
        kind = np.dtype(NUMPY_TYPES[found])
        offset = begin + block.start * kind.itemsize
        values = np.fromfile(path, dtype=kind, count=block.stop - block.start, offset=offset)
        return Digest(dtype, checksum(as_dtype(values, found, dtype)))
