"""Imported by every Python process that is started with this folder on PYTHONPATH; what it is for: ../__init__.py."""

import os
from typing import Any


def _cpu_counts_as_gpu() -> None:
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    found_out = PartialState.__init__

    def find_out(self: Any, *arguments: Any, **options: Any) -> None:
        found_out(self, *arguments, **options)
        # Afterwards: while it finds out, MULTI_CPU is what chooses gloo and the CPU as the device.
        if self.__dict__.get("distributed_type") == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = find_out  # type: ignore[method-assign]


if os.environ.get("ACCELERATE_USE_FSDP") == "true":  # `accelerate launch` says so to its workers
    _cpu_counts_as_gpu()
