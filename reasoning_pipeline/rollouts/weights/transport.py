"""How weights travel from a trainer to its rollout servers. One interface; which one is the hardware profile's choice.

    safetensors   files in shared memory, or in a folder that nodes share; works everywhere, tested here on CPUs
    nccl          vLLM's own engine, GPU to GPU, also between nodes
    ipc           vLLM's own engine, trainer and server on the same GPU; nothing is copied through the host

A transport moves bytes and tells each server what to call them. It proves nothing: see push.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from reasoning_pipeline.errors import ServerError
from reasoning_pipeline.rollouts.clients.client import RolloutClient

if TYPE_CHECKING:
    import torch

    from reasoning_pipeline.rollouts.weights.gathering import TensorInfo

    Tensors = Callable[[], Iterator[tuple[str, torch.Tensor]]]

ARRIVING = "{version} (arriving)"
"""What the weights are called until the last of them is there, so that no rollout of a mixture passes for either."""

RESET_PATIENCE_S = 10.0
"""A request that has just ended may still hold its blocks of the prefix cache."""


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
    forget_prefixes(server)


def forget_prefixes(server: RolloutClient, patience_s: float = RESET_PATIENCE_S) -> None:
    """Drop cached keys and values, which belong to other weights.

    Raises:
        ServerError: The server went on holding some of them, answering requests of the old weights.
    """
    deadline = time.monotonic() + patience_s
    # vLLM answers 200 and `success: false` while any block is in use, and then drops none at all.
    while (server.post("/reset_prefix_cache", {}) or {}).get("success") is False:
        if time.monotonic() > deadline:
            raise ServerError(
                f"the rollout server at {server.url} still holds keys and values of weights it no longer has: its "
                f"prefix cache was in use for {patience_s:.0f} s after new ones had arrived",
                remedy="nothing else may ask this server while a run trains; a request that hangs keeps its cache",
            )
        time.sleep(0.1)


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
