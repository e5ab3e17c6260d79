"""Watches every tensor that operations return, to show that one is never made."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class _Watch(TorchDispatchMode):
    """Hands every tensor that an operation returns to `see`."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for item in result if isinstance(result, tuple | list) else (result,):
            if isinstance(item, torch.Tensor):
                self.see(item, args)
        return result

    def see(self, tensor: torch.Tensor, given: Any) -> None:
        """`given`: what the operation was asked of."""
        raise NotImplementedError


class NewTensors(_Watch):
    """Counts what operations return of this many elements in memory of its own."""

    def __init__(self, elements: int) -> None:
        super().__init__()
        self.elements, self.found = elements, 0

    def see(self, tensor: torch.Tensor, given: Any) -> None:
        if tensor.numel() == self.elements:
            pointers = {item.data_ptr() for item in given if isinstance(item, torch.Tensor)}
            self.found += tensor.data_ptr() not in pointers


class LargestTensor(_Watch):
    """Remembers the number of elements of the largest tensor any operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def see(self, tensor: torch.Tensor, given: Any) -> None:
        self.largest = max(self.largest, tensor.numel())
