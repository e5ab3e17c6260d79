"""Safetensors files in memory that trainer and server share, written over and over in place.

A model travels in chunks: while the server loads one, the trainer writes the next. Two slots are enough for that, so
shared memory holds two chunks however large the model is, and pages that were touched once stay warm (a fresh file
costs three times the copy, in page faults). Each slot is a valid safetensors file of constant size; what a chunk leaves
free is a tensor called PADDING.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.errors import ServerError

if TYPE_CHECKING:
    import torch

    from reasoning_pipeline.rollouts.weights.gathering import TensorInfo

CHUNK_BYTES = 128 * 2**20
"""A chunk's size where no single tensor is larger."""
SLOTS = 2
PADDING = "__padding__"
_ALIGNMENT = 64


class TensorSlots:
    """The slots of one pusher, in one folder.

    Args:
        infos: The tensors of every push, in order; dtypes are those that travel.
        reuse: Write slots in place. Off for a folder on a network, whose clients may keep serving what they have read:
            there each chunk is a file of its own name, removed once it was loaded.

    Raises:
        ServerError: The folder has no room for the slots.
    """

    def __init__(self, folder: Path, infos: Sequence[TensorInfo], *, reuse: bool) -> None:
        self.folder, self.reuse = folder, reuse
        self.chunks = _chunks(infos)
        self._header_bytes = _aligned(max(len(_header(chunk, padding=2**62)) for chunk in self.chunks) + 8) - 8
        self._data_bytes = max(sum(_bytes(info) for info in chunk) for chunk in self.chunks)
        self._open: dict[Path, mmap.mmap] = {}
        self._written = 0
        self.count = min(SLOTS, len(self.chunks))
        """Chunks that may lie in the folder at a time."""
        for number in range(self.count if reuse else 0):
            self._slot(self._path(number))

    def write(self, chunk: Sequence[TensorInfo], tensors: Iterable[torch.Tensor]) -> Path:
        """Copy a chunk's tensors, once each, into the next slot, casting where the travelling dtype is another."""
        import torch

        path = self._path(self._written % self.count if self.reuse else self._written)
        memory = self._slot(path)
        header = _header(chunk, padding=self._data_bytes - sum(_bytes(info) for info in chunk))
        memory[:8] = self._header_bytes.to_bytes(8, "little")
        memory[8 : 8 + self._header_bytes] = header.ljust(self._header_bytes)
        offset = 8 + self._header_bytes
        for info, tensor in zip(chunk, tensors, strict=True):
            if info.elements:
                target = torch.frombuffer(memory, dtype=info.dtype, count=info.elements, offset=offset)
                target.view(info.shape).copy_(tensor)
            offset += _bytes(info)
        self._written += 1
        return path

    def loaded(self, path: Path) -> None:
        """Every server has loaded this file."""
        if not self.reuse:
            self._open.pop(path, None)
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        for path in list(self._open):
            self._open.pop(path)
            path.unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"policy-{number}.safetensors"

    def _slot(self, path: Path) -> mmap.mmap:
        if path not in self._open:
            size = 8 + self._header_bytes + self._data_bytes
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.ftruncate(descriptor, size)
                # Reserved now: a page that cannot be had later would end the process with SIGBUS, not with an error.
                os.posix_fallocate(descriptor, 0, size)
                self._open[path] = mmap.mmap(descriptor, size)
            except OSError as error:
                path.unlink(missing_ok=True)
                if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.ENOMEM):
                    raise
                raise ServerError(
                    f"{self.folder}: no space for the weights to push ({self.count} slots of {size / 2**20:.0f} MiB)",
                    remedy="free shared memory (/dev/shm), or name a larger folder as server.transfer_folder in the "
                    "hardware profile",
                ) from error
            finally:
                os.close(descriptor)
        return self._open[path]


def on_this_machine(folder: Path) -> bool:
    """Whether whoever opens a file here sees what was written last, with no network between."""
    device = folder.resolve().stat().st_dev
    shared = Path("/dev/shm")
    return shared.is_dir() and shared.stat().st_dev == device


def _chunks(infos: Sequence[TensorInfo]) -> list[list[TensorInfo]]:
    """Neighbours together, of one dtype (so that each tensor is aligned), up to CHUNK_BYTES or one larger tensor."""
    limit = max([CHUNK_BYTES, *map(_bytes, infos)])
    chunks: list[list[TensorInfo]] = []
    used = 0
    for info in infos:
        if not chunks or used + _bytes(info) > limit or chunks[-1][0].dtype != info.dtype:
            chunks.append([])
            used = 0
        chunks[-1].append(info)
        used += _bytes(info)
    return chunks


def _header(chunk: Sequence[TensorInfo], *, padding: int) -> bytes:
    entries: dict[str, dict[str, Any]] = {}
    offset = 0
    for info in chunk:
        end = offset + _bytes(info)
        entries[info.name] = {"dtype": _safetensors_name(info), "shape": info.shape, "data_offsets": [offset, end]}
        offset = end
    entries[PADDING] = {"dtype": "U8", "shape": [padding], "data_offsets": [offset, offset + padding]}
    return json.dumps(entries).encode()


def _bytes(info: TensorInfo) -> int:
    return info.elements * info.dtype.itemsize


def _safetensors_name(info: TensorInfo) -> str:
    kind = str(info.dtype).removeprefix("torch.")
    return {"bfloat16": "BF16"}.get(kind) or kind.replace("uint", "U").replace("int", "I").replace("float", "F")


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
