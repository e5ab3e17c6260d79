"""Weights through vLLM's own transfer engines: NCCL, and CUDA IPC for trainer and server on one GPU.

vLLM's trainer side does the work; what is ours is a client that speaks to several servers behind our key, and a source
of tensors that is gathered from any trainer. Importing vLLM costs a trainer some seconds, once; the safetensors
transport does without. Not run where there is no GPU: the messages are checked against vLLM's own classes by the
tests, the transfer itself by `python -m benchmarks.push --transport nccl`.

NCCL waits for a peer that is gone for ever. A server that dies in a transfer closes its connection, and the transfer is
aborted at once; one that stands still lets nothing move, and it is aborted when a deadline has passed (deadline.py).
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from reasoning_pipeline.errors import ServerLost, TransferCutOff
from reasoning_pipeline.hardware.addresses import free_port, is_loopback, own_address
from reasoning_pipeline.rollouts.clients.client import RolloutClient
from reasoning_pipeline.rollouts.weights.deadline import Watch
from reasoning_pipeline.rollouts.weights.ipc_handles import handle_to_json
from reasoning_pipeline.rollouts.weights.transport import begin_update, finish_update

if TYPE_CHECKING:
    import torch

    from reasoning_pipeline.rollouts.weights.gathering import TensorInfo
    from reasoning_pipeline.rollouts.weights.transport import Tensors

ADDRESS_VARIABLE = "REASONING_PIPELINE_TRAINER_ADDRESS"
"""Where servers on other nodes reach the trainer for NCCL's rendezvous; this host's own address where it is not set."""
IPC_BUFFER_BYTES = 512 * 2**20
"""The staging buffer's size where no single tensor is larger."""


class VLLMTransport:
    """See transport.Transport. Every rank makes the same calls: vLLM's engines gather on all of them."""

    def __init__(self, kind: str, *, rank: int) -> None:
        self.kind, self.rank = kind, rank
        self._engine: Any = None
        self._client: ServersAsOne | None = None
        self._source: Any = None

    def send(
        self,
        servers: Sequence[RolloutClient],
        infos: Sequence[TensorInfo],
        tensors: Tensors,
        version: str,
        *,
        full: bool,
    ) -> dict[RolloutClient, Future[None]]:
        """See transport.Transport. A server lost in between ends the transfer to all: NCCL has no other way."""
        done: dict[RolloutClient, Future[None]] = {server: Future() for server in servers if self.rank == 0}
        try:
            if self._engine is None or full or self._client is None or self._client.servers != list(servers):
                self._open(servers, infos)
            assert self._client is not None
            self._client.version = version
            with self._watched(servers) as watch:
                self._source.begin(infos, tensors, watch.moved)
                self._client.when_lost = watch.cancel
                self._engine.send_weights()
        except Exception as error:
            lost = self._client.lost if self._client is not None else {}
            self.close()
            if not lost:
                raise
            for server, future in done.items():
                cut = TransferCutOff(f"the push to {server.url} was cut off: {error}")
                future.set_exception(lost.get(server) or cut)
        else:
            for future in done.values():
                future.set_result(None)
        return done

    def _watched(self, servers: Sequence[RolloutClient]) -> Watch:
        """Nothing may stand still for longer than a server may be silent; other ranks wait for the first one."""
        limit = max((server.silence_s for server in servers), default=0.0) if self.rank == 0 else threading.TIMEOUT_MAX
        return Watch(limit, abort=self._abort, leave=_leave)

    def _abort(self) -> None:
        """Make the call return that waits for the servers; what has not answered by now is lost."""
        if self._client is not None:
            self._client.give_up()
        group = getattr(self._engine, "model_update_group", None)
        if group is not None:
            group.destroy()  # ncclCommAbort, and afterwards its broadcasts do nothing

    def close(self) -> None:
        if self._engine is not None:
            self._engine.shutdown()
            self._engine = None

    def _open(self, servers: Sequence[RolloutClient], infos: Sequence[TensorInfo]) -> None:
        from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory

        self.close()
        self._client = ServersAsOne(servers)
        self._source = _source_class()()
        self._source.begin(infos, None)
        world = 1 + sum(self._client.worker_counts()) if self.rank == 0 else 1
        with self._watched(servers) as watch:  # there is no communicator to abort yet
            self._client.when_lost = watch.cancel
            self._engine = WeightTransferTrainerFactory.trainer_init(
                init_info(self.kind, self.rank, world, infos, servers), client=self._client, source=self._source
            )


def _leave(why: str) -> NoReturn:
    """The last resort: this process holds a call that never returns. The runner starts servers and resumes the step."""
    print(f"error: a push of weights hangs: {why}", file=sys.stderr, flush=True)
    os._exit(ServerLost.exit_status)


def init_info(
    kind: str, rank: int, world_size: int, infos: Sequence[TensorInfo], servers: Sequence[RolloutClient] = ()
) -> Any:
    """vLLM's own description of a trainer's side."""
    if kind == "nccl":
        from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

        address = meeting_address(servers) if rank == 0 else "127.0.0.1"  # the others do not meet the servers
        return NCCLTrainerInitInfo(rank=rank, master_address=address, master_port=free_port(""), world_size=world_size)
    from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

    # Packed: a staging buffer of constant size, instead of a copy of every parameter at once.
    size = max([IPC_BUFFER_BYTES, *(info.elements * info.dtype.itemsize for info in infos)])
    return IPCTrainerInitInfo(rank=rank, packed=True, packed_buffer_size_bytes=size)


class ServersAsOne:
    """vLLM's `VLLMWeightSyncClient`, over several servers at once: what vLLM asks of one is asked of each."""

    def __init__(self, servers: Sequence[RolloutClient]) -> None:
        self.servers = list(servers)
        self.version = ""
        self.lost: dict[RolloutClient, ServerLost] = {}
        self.when_lost: Callable[[str], None] = lambda why: None
        """Told as soon as one is gone, while others still wait for it."""
        self._given_up: Future[None] = Future()

    def worker_counts(self) -> list[int]:
        """GPUs of each server; each is a member of the NCCL group."""
        return [server.get("/get_world_size")["world_size"] for server in self.servers]

    def init_weight_transfer_engine(self, info: dict[str, Any]) -> None:
        offsets = {}
        if "rank_offset" in info:  # NCCL: the trainer is rank 0, each server's workers follow the previous server's
            offset = info["rank_offset"]
            for server, count in zip(self.servers, self.worker_counts(), strict=True):
                offsets[server], offset = {"rank_offset": offset}, offset + count
        self._each(
            lambda server: server.post(
                "/init_weight_transfer_engine", {"init_info": {**info, **offsets.get(server, {})}}
            )
        )

    def start_weight_update(self) -> None:
        def start(server: RolloutClient) -> None:
            begin_update(server, self.version)
            server.post("/start_weight_update", {})

        self._each(start)

    def update_weights(self, update_info: dict[str, Any] | list[dict[str, Any]]) -> None:
        assert isinstance(update_info, dict), "a list, one for each worker, is another backend's"
        body = {"update_info": plain_update(update_info)}
        self._each(lambda server: server.post("/update_weights", body))

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        self._each(lambda server: finish_update(server, weight_version or self.version))

    def give_up(self) -> None:
        """Wait for no answer any longer."""
        if not self._given_up.done():
            self._given_up.set_result(None)

    def _each(self, call: Callable[[RolloutClient], None]) -> None:
        """In threads: with NCCL each server blocks until all have joined. Raises what the first server to fail did."""
        futures = {_in_background(call, server): server for server in self.servers}
        waiting: set[Future[None]] = {*futures}
        while waiting and not self._given_up.done():
            ended, waiting = wait({*waiting, self._given_up}, return_when=FIRST_COMPLETED)
            waiting.discard(self._given_up)
            for future in ended & futures.keys():
                error = future.exception()
                if isinstance(error, ServerLost):
                    self.lost[futures[future]] = error
                    self.when_lost(error.message)
                if error is not None:
                    raise error
        if waiting:
            for future in waiting:
                url = futures[future].url
                self.lost.setdefault(futures[future], ServerLost(f"the rollout server at {url} stood still in a push"))
            raise next(iter(self.lost.values()))


def _in_background(call: Callable[[RolloutClient], None], server: RolloutClient) -> Future[None]:
    """In a thread that nobody waits for at the end: one that asks a frozen server returns after its own deadline."""
    future: Future[None] = Future()

    def ask() -> None:
        try:
            call(server)
            future.set_result(None)
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=ask, name=f"push to {server.url}", daemon=True).start()
    return future


def plain_update(update_info: dict[str, Any]) -> dict[str, Any]:
    """What vLLM wants to send, as JSON. CUDA handles go field by field (ipc_handles.py); vLLM would pickle them."""
    handles = update_info.get("ipc_handles")
    if handles is None:
        return {name: value for name, value in update_info.items() if value is not None}
    if isinstance(handles, list):
        plain: Any = [{gpu: handle_to_json(one) for gpu, one in entry.items()} for entry in handles]
    else:
        plain = {gpu: handle_to_json(one) for gpu, one in handles.items()}
    rest = {name: value for name, value in update_info.items() if value is not None and name != "ipc_handles"}
    return {**rest, "ipc_handles": plain}


def _source_class() -> type:
    """vLLM's `WeightSource`, fed by gathering.py. Made here because the base class is only there with vLLM."""
    from vllm.distributed.weight_transfer.base import ParamMeta, WeightSource

    class GatheredSource(WeightSource):
        def begin(
            self, infos: Sequence[TensorInfo], tensors: Tensors | None, moved: Callable[[], None] = lambda: None
        ) -> None:
            self._infos, self._tensors, self._moved = list(infos), tensors, moved

        def metadata(self) -> list[ParamMeta]:
            return [ParamMeta(info.name, info.dtype, info.shape) for info in self._infos]

        def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
            import torch

            assert self._tensors is not None
            device = torch.device("cuda", torch.cuda.current_device())
            for info, (name, tensor) in zip(self._infos, self._tensors(), strict=True):
                self._moved()
                yield name, tensor.to(device=device, dtype=info.dtype).contiguous()
            self._moved()

    return GatheredSource


def meeting_address(servers: Sequence[RolloutClient]) -> str:
    """Where the servers' workers reach the first trainer process. Raises PipelineError where it is known to nobody."""
    if (given := os.environ.get(ADDRESS_VARIABLE)) is not None:
        return given
    if any(not is_loopback(urlsplit(server.url).hostname or "") for server in servers):
        return own_address()
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"
