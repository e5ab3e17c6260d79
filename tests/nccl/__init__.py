"""Pushes by NCCL on a machine without GPUs, for tests: runs whose communicator is a socket.

Everything else is what a GPU would meet: the runner, a real vLLM server, vLLM's own NCCL engines on both sides with our
deadline around them, and a communicator whose calls wait for a peer that is gone until somebody aborts them. A profile
cannot ask for it on CPUs, so this environment makes `transport: safetensors` mean it (`hook/sitecustomize.py`):

    Run(..., environment=environment(strikes))

`strikes` is a folder: a file `NUMBER-SIGNAL` in it (`3-SIGKILL`) hits the first server that receives its push of that
number, when half of the weights have arrived, with all its processes. Each strikes once.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

HOOK = Path(__file__).parent / "hook"
PROJECT = Path(__file__).resolve().parents[2]
STRIKES = "TESTS_NCCL_STRIKES"
RENDEZVOUS_S = 60.0


def environment(strikes: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(map(str, (HOOK, PROJECT))), STRIKES: str(strikes)}


def _servers_take_it(module: ModuleType) -> None:
    module.BACKENDS = {"safetensors": "nccl_with_deadline"}


def _trainers_take_it(module: ModuleType) -> None:
    from reasoning_pipeline.rollouts.weights import vllm_transport

    on_gpus = vllm_transport._source_class

    def source_class() -> type:
        class OnCPU(on_gpus()):  # type: ignore[misc]
            def __iter__(self) -> Iterator[Any]:
                for info, (name, tensor) in zip(self._infos, self._tensors(), strict=True):
                    self._moved()
                    yield name, tensor.to(dtype=info.dtype).contiguous()
                self._moved()

        return OnCPU

    vllm_transport._source_class = source_class
    module.make_transport = lambda kind, accelerator, folder: vllm_transport.VLLMTransport(
        "nccl", rank=accelerator.process_index
    )


def _sockets_in_place_of_nccl(module: ModuleType) -> None:
    import socket

    from tests.rollouts.pushed_to import SocketGroup

    pushes = [0]

    def listen(info: Any) -> Any:
        with socket.create_server(("", info.master_port)) as listener:
            listener.settimeout(RENDEZVOUS_S)
            return SocketGroup([listener.accept()[0] for _ in range(info.world_size - 1)])

    def join(info: Any, parallel: Any) -> Any:
        deadline = time.monotonic() + RENDEZVOUS_S
        while True:
            try:
                return SocketGroup.connect(info.master_port)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def send(*, iterator: Any, group: Any, post_iter_func: Callable[[Any], Any], **_: Any) -> None:
        for item in iterator:
            group.broadcast(post_iter_func(item))

    def receive(*, iterator: Any, group: Any, post_unpack_func: Callable[[Any], Any], **_: Any) -> None:
        pushes[0] += 1
        expected = list(iterator)
        for number, (name, (shape, dtype)) in enumerate(expected):
            if number == len(expected) // 2:
                _strike(pushes[0])
            payload = group.receive()
            if payload is not None:
                post_unpack_func([(name, _tensor(payload, shape, dtype))])

    module.open_trainer_endpoint, module.worker_init_process_group = listen, join  # type: ignore[attr-defined]
    module.packed_nccl_broadcast_producer, module.packed_nccl_broadcast_consumer = send, receive  # type: ignore[attr-defined]


def _tensor(payload: bytes, shape: list[int], dtype: Any) -> Any:
    import torch

    return torch.frombuffer(bytearray(payload), dtype=dtype).reshape(shape)


def _strike(push: int) -> None:
    for path in Path(os.environ[STRIKES]).glob(f"{push}-*"):
        path.unlink()
        os.killpg(0, getattr(signal, path.name.partition("-")[2]))  # a server leads a group of its own


CHANGES = {
    "reasoning_pipeline.rollouts.servers.command": _servers_take_it,
    "reasoning_pipeline.rollouts.weights.push": _trainers_take_it,
    "vllm.distributed.weight_transfer.nccl_engine": _sockets_in_place_of_nccl,
}
"""What is changed when a module has been imported."""
