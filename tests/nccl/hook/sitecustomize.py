"""Imported by every Python process that is started with this folder on PYTHONPATH; what it is for: ../__init__.py."""

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

CHANGED = (
    "reasoning_pipeline.rollouts.servers.command",
    "reasoning_pipeline.rollouts.weights.push",
    "vllm.distributed.weight_transfer.nccl_engine",
)


class _Afterwards(Loader):
    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> Any:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        from tests.nccl import CHANGES

        CHANGES[module.__name__](module)


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in CHANGED else None
        if spec is not None:
            spec.loader = _Afterwards(spec.loader)
        return spec


sys.meta_path.insert(0, _Finder())
