"""How weights travel from a trainer to its rollout servers. One interface; which one is the hardware profile's choice.

    safetensors   files in shared memory, or in a folder that nodes share; works everywhere, tested here on CPUs
    nccl          vLLM's own engine, GPU to GPU, also between nodes
    ipc           vLLM's own engine, trainer and server on the same GPU; nothing is copied through the host

A transport moves bytes and tells each server what to call them. It proves nothing: see weight_sync.py.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
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


def make_transport(kind: str, accelerator: Any, transfer_folder: Path | None) -> Transport:
    """The transport that a hardware profile names as `server.transport`."""
    if kind == "safetensors":
        assert transfer_folder is not None
        return SafetensorsTransport(transfer_folder, main=accelerator.is_main_process)
    from reasoning_pipeline.rollouts.weights.vllm_transport import VLLMTransport

    return VLLMTransport(kind, rank=accelerator.process_index)


def begin_update(server: RolloutClient, version: str) -> None:
    """End whatever update a killed trainer left open, and say that another has begun."""
    call_workers(server, "abandon_weight_update")
    server.post("/update_weight_version", {"new_version": ARRIVING.format(version=version)})


def finish_update(server: RolloutClient, version: str) -> None:
    server.post("/finish_weight_update", {"weight_version": version})
    server.post("/reset_prefix_cache", {})  # cached keys and values belong to the old weights


def call_workers(server: RolloutClient, method: str, *arguments: Any) -> list[Any]:
    """A method of vllm_worker.WorkerExtension, on each of the server's workers; arguments travel as JSON."""
    body = {"method": method, "args": [json.dumps(argument) for argument in arguments]}
    answer = server.post("/collective_rpc", body)
    return answer["results"] if answer else []


class SafetensorsTransport:
    """Writes chunks into `folder`; every server loads one chunk while the next is being written."""

    def __init__(self, folder: Path, *, main: bool) -> None:
        self.folder, self.main = folder, main
        self._slots: Any = None
        self._layout: list[TensorInfo] = []
        self._being_loaded: deque[tuple[Path, list[Future[None]]]] = deque()

    def send(
        self,
        servers: Sequence[RolloutClient],
        infos: Sequence[TensorInfo],
        tensors: Tensors,
        version: str,
        *,
        full: bool,
    ) -> dict[RolloutClient, Future[None]]:
        """See Transport. Raises ServerError where the folder has no room."""
        if not self.main:
            for _ in tensors():  # gathering is collective
                pass
            return {}
        slots = self._slots_for(infos)
        calls = {server: _InOrder(server) for server in servers}
        try:
            for call in calls.values():
                call.then(begin_update, call.server, version)
                call.then(call.server.post, "/start_weight_update", {})
            stream = (tensor for _, tensor in tensors())
            for chunk in slots.chunks:
                self._make_room(slots.count - 1)
                path = slots.write(chunk, islice(stream, len(chunk)))
                body = {"update_info": {"paths": [str(path.resolve())], "full": full}}
                loading = [call.then(call.server.post, "/update_weights", body) for call in calls.values()]
                self._being_loaded.append((path, loading))
            for _ in stream:  # lets go of the last tensor that was gathered
                raise AssertionError("more tensors than described")
            return {server: call.then(finish_update, server, version) for server, call in calls.items()}
        finally:
            for call in calls.values():
                call.close()

    def _make_room(self, left: int) -> None:
        """Wait until at most `left` files are being read. What went wrong is told by each server's last future."""
        while len(self._being_loaded) > left:
            path, loading = self._being_loaded.popleft()
            for future in loading:
                future.exception()
            self._slots.loaded(path)

    def close(self) -> None:
        if self._slots is not None:
            self._make_room(0)
            self._slots.remove()
            self._slots = None

    def _slots_for(self, infos: Sequence[TensorInfo]) -> Any:
        from reasoning_pipeline.rollouts.weights.slots import TensorSlots, on_this_machine

        if self._slots is None or self._layout != list(infos):
            self.close()
            self._slots = TensorSlots(self.folder, infos, reuse=on_this_machine(self.folder))
            self._layout = list(infos)
        return self._slots


class _InOrder:
    """Calls to one server, one after the other in a thread of their own; after the first that fails, none is made."""

    def __init__(self, server: RolloutClient) -> None:
        self.server = server
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="push")
        self._error: BaseException | None = None

    def then(self, call: Callable[..., Any], *arguments: Any) -> Future[None]:
        def work() -> None:
            if self._error is not None:
                raise self._error
            try:
                call(*arguments)
            except BaseException as error:
                self._error = error
                raise

        return self._thread.submit(work)

    def close(self) -> None:
        """No more calls; those made so far go on."""
        self._thread.shutdown(wait=False)


def travelling(infos: Sequence[TensorInfo], precision: str) -> list[TensorInfo]:
    """The same tensors in the server's precision: what is rounded there need not travel in full."""
    import torch

    wire = getattr(torch, precision)
    return [replace(info, dtype=wire) if info.dtype.is_floating_point else info for info in infos]
