"""How weights travel from a trainer to its rollout servers. One interface; which one is the hardware profile's choice.

    safetensors   files in shared memory, or in a folder that nodes share; works everywhere, tested here on CPUs
    nccl          vLLM's own engine, GPU to GPU, also between nodes
    ipc           vLLM's own engine, trainer and server on the same GPU; nothing is copied through the host

A transport moves bytes and tells each server what to call them. It proves nothing: see push.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from reasoning_pipeline.rollouts.clients.client import RolloutClient

if TYPE_CHECKING:
    import torch

    from reasoning_pipeline.rollouts.weights.gathering import TensorInfo

    Tensors = Callable[[], Iterator[tuple[str, torch.Tensor]]]

ARRIVING = "{version} (arriving)"
"""What the weights are called until the last of them is there, so that no rollout of a mixture passes for either."""


class Transport(Protocol):
    """One on each trainer process, since gathering a divided parameter needs them all; rank 0 speaks to the servers."""

    def send(
        self,
        servers: Sequence[RolloutClient],
        infos: Sequence[TensorInfo],
        tensors: Tensors,
        version: str,
        *,
        full: bool,
    ) -> dict[RolloutClient, Future[None]]:
        """Give every server these tensors under this version. Opens what has to be opened first.

        Args:
            infos: What `tensors()` will yield, with the dtypes that travel.
            tensors: A fresh pass over (name, whole tensor); each is valid until the next. Collective.
            full: Begin anew: rendezvous, and the server's complete way of loading.

        Returns:
            For each server a future that is done when the server has finished loading, or carries what went wrong
            there (ServerLost, ServerError). Empty on other ranks than 0.
        """
        ...

    def close(self) -> None: ...


def begin_update(server: RolloutClient, version: str) -> None:
    """End whatever update a killed trainer left open, and say that another has begun."""
    call_workers(server, "abandon_weight_update")
    server.post("/update_weight_version", {"new_version": ARRIVING.format(version=version)})


def finish_update(server: RolloutClient, version: str) -> None:
    server.post("/finish_weight_update", {"weight_version": version})
    server.post("/reset_prefix_cache", {})  # cached keys and values belong to the old weights


def call_workers(server: RolloutClient, method: str, *arguments: Any) -> list[Any]:
    """A method of vllm/worker.py's WorkerExtension, on each of the server's workers; arguments travel as JSON."""
    body = {"method": method, "args": [json.dumps(argument) for argument in arguments]}
    answer = server.post("/collective_rpc", body)
    return answer["results"] if answer else []


def travelling(infos: Sequence[TensorInfo], precision: str) -> list[TensorInfo]:
    """The same tensors in the server's precision: what is rounded there need not travel in full."""
    import torch

    wire = getattr(torch, precision)
    return [replace(info, dtype=wire) if info.dtype.is_floating_point else info for info in infos]
