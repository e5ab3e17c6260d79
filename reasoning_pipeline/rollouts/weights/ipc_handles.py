"""CUDA IPC handles as JSON. vLLM 0.31 pickles them for HTTP, and an unpickled message can run any code.

A handle is what `torch.multiprocessing.reductions.reduce_tensor` gives: the arguments of `rebuild_cuda_tensor`. Its
fields are numbers, sizes, bytes and a dtype, and two classes that are always the same, which do not travel.
"""

from __future__ import annotations

import base64
from typing import Any

_FIELDS = (
    "tensor_class",
    "tensor_size",
    "tensor_stride",
    "tensor_offset",
    "storage_class",
    "dtype",
    "storage_device",
    "storage_handle",
    "storage_size_bytes",
    "storage_offset_bytes",
    "requires_grad",
    "ref_counter_handle",
    "ref_counter_offset",
    "event_handle",
    "event_sync_required",
)
"""In the order of `rebuild_cuda_tensor`'s parameters; a test compares with torch's."""
_CLASSES = ("tensor_class", "storage_class")
_BYTES = ("storage_handle", "ref_counter_handle", "event_handle")
_SIZES = ("tensor_size", "tensor_stride")
_FLAGS = ("requires_grad", "event_sync_required")


def handle_to_json(arguments: tuple[Any, ...]) -> dict[str, Any]:
    """`arguments` of rebuild_cuda_tensor as plain values. Raises ValueError where torch has added a field."""
    values: dict[str, Any] = {}
    for name, value in zip(_FIELDS, arguments, strict=True):
        if name in _BYTES:
            values[name] = None if value is None else base64.b64encode(value).decode()
        elif name in _SIZES:
            values[name] = list(value)
        elif name == "dtype":
            values[name] = str(value).removeprefix("torch.")
        elif name not in _CLASSES:
            values[name] = value
    return values


def handle_from_json(values: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments again, each checked for its kind. Raises ValueError for anything else."""
    import torch

    expected = set(_FIELDS) - set(_CLASSES)
    if set(values) != expected:
        raise ValueError(f"an IPC handle has the fields {sorted(expected)}, found {sorted(values)}")
    arguments: list[Any] = []
    for name in _FIELDS:
        value = values.get(name)
        if name == "tensor_class":
            arguments.append(torch.Tensor)
        elif name == "storage_class":
            arguments.append(torch.UntypedStorage)
        elif name in _BYTES:
            arguments.append(None if value is None else base64.b64decode(_kind(name, value, str), validate=True))
        elif name in _SIZES:
            arguments.append(torch.Size([_kind(name, size, int) for size in _kind(name, value, list)]))
        elif name == "dtype":
            dtype = getattr(torch, _kind(name, value, str), None)
            if not isinstance(dtype, torch.dtype):
                raise ValueError(f"an IPC handle's dtype cannot be {value!r}")
            arguments.append(dtype)
        else:
            arguments.append(_kind(name, value, bool if name in _FLAGS else int))
    return tuple(arguments)


def _kind(name: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"an IPC handle's {name} is a {kind.__name__}, found {type(value).__name__}")
    return value
