"""Weights as files that trainer and servers see: in shared memory on one machine, else in a folder that nodes share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.rollouts.clients.client import RolloutClient
from reasoning_pipeline.rollouts.weights.slots import TensorSlots, on_this_machine
from reasoning_pipeline.rollouts.weights.transport import begin_update, finish_update

if TYPE_CHECKING:
    from reasoning_pipeline.rollouts.weights.gathering import TensorInfo
    from reasoning_pipeline.rollouts.weights.transport import Tensors


class SafetensorsTransport:
    """Writes chunks into `folder`; every server loads one chunk while the next is being written."""

    def __init__(self, folder: Path, *, main: bool) -> None:
        self.folder, self.main = folder, main
        self._slots: TensorSlots | None = None
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
            assert self._slots is not None
            self._slots.loaded(path)

    def close(self) -> None:
        if self._slots is not None:
            self._make_room(0)
            self._slots.remove()
            self._slots = None

    def _slots_for(self, infos: Sequence[TensorInfo]) -> TensorSlots:
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
