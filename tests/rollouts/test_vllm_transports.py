"""What we say to vLLM's NCCL and IPC engines, held against vLLM's own classes. The transfer itself needs a GPU."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from reasoning_pipeline.errors import ServerError
from reasoning_pipeline.rollouts.clients.client import RolloutClient
from reasoning_pipeline.rollouts.weights import ipc_handles
from reasoning_pipeline.rollouts.weights.ipc_handles import handle_from_json, handle_to_json
from reasoning_pipeline.rollouts.weights.transport import finish_update, forget_prefixes
from reasoning_pipeline.rollouts.weights.vllm_transport import ServersAsOne, plain_update
from tests.rollouts.scripted_server import ScriptedServer

HANDLE = (
    torch.Tensor, torch.Size([8]), (1,), 0, torch.UntypedStorage, torch.uint8, 0, b"\x00h\xff", 8, 0, False,
    b"refs", 0, b"event", True,
)  # fmt: skip
"""What reduce_tensor gives for a byte buffer on a GPU."""


@pytest.fixture
def scripted() -> Iterator[tuple[ScriptedServer, ScriptedServer]]:
    servers = ScriptedServer(), ScriptedServer()
    yield servers
    for server in servers:
        server.close()


def test_a_handle_travels_as_json_and_comes_back_field_by_field() -> None:
    plain = json.loads(json.dumps(handle_to_json(HANDLE)))
    assert handle_from_json(plain) == HANDLE


def test_the_fields_of_a_handle_are_torch_s() -> None:
    from torch.multiprocessing.reductions import rebuild_cuda_tensor

    theirs = list(inspect.signature(rebuild_cuda_tensor).parameters)
    known = {"tensor_cls": "tensor_class", "storage_cls": "storage_class"}
    assert [known.get(name, name) for name in theirs] == list(ipc_handles._FIELDS)


@pytest.mark.parametrize(
    ("field", "value"),
    [("dtype", "save"), ("dtype", "os.system"), ("storage_handle", 5), ("tensor_size", "8"), ("requires_grad", 1),
     ("storage_device", True), ("surprise", 1)],
)  # fmt: skip
def test_a_handle_that_is_not_one_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match="IPC handle"):
        handle_from_json({**handle_to_json(HANDLE), field: value})


def test_each_server_gets_its_own_ranks_and_the_same_updates(scripted: tuple[ScriptedServer, ScriptedServer]) -> None:
    scripted[0].workers, scripted[1].workers = 2, 4
    clients = ServersAsOne([RolloutClient(server.url, key="k") for server in scripted])
    clients.version = "a:1"
    assert clients.worker_counts() == [2, 4]
    clients.init_weight_transfer_engine({"rank_offset": 1, "world_size": 7, "master_address": "h", "master_port": 1})
    clients.start_weight_update()
    clients.update_weights({"names": ["a"], "dtype_names": ["bfloat16"], "shapes": [[2]]})
    clients.finish_weight_update()
    offsets = [dict(server.bodies)["/init_weight_transfer_engine"]["init_info"]["rank_offset"] for server in scripted]
    assert offsets == [1, 3], "the trainer is rank 0, then two workers, then four"
    for server in scripted:
        assert server.asked == [
            "/init_weight_transfer_engine",
            "abandon_weight_update",
            "/update_weight_version",
            "/start_weight_update",
            "/update_weights",
            "/finish_weight_update",
            "/reset_prefix_cache",
        ]
        assert server.version == "a:1"


def test_a_prefix_cache_in_use_is_asked_again_and_then_refused(scripted: tuple[ScriptedServer, ScriptedServer]) -> None:
    server, client = scripted[0], RolloutClient(scripted[0].url, key="k")
    server.resets_refused = 2
    finish_update(client, "a:1")
    assert server.asked == ["/finish_weight_update", *["/reset_prefix_cache"] * 3]
    server.resets_refused = 10_000
    with pytest.raises(ServerError, match="still holds keys and values of weights it no longer has"):
        forget_prefixes(client, patience_s=0.3)


AGAINST_VLLM = """
import json, sys
import torch
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory, WeightTransferTrainerFactory
from vllm.distributed.weight_transfer.base import VLLMWeightSyncClient
from vllm.distributed.weight_transfer import ipc_engine, nccl_engine
from reasoning_pipeline.rollouts.weights import vllm_transport as ours
from reasoning_pipeline.rollouts.vllm.plugin import BACKENDS, register
from reasoning_pipeline.rollouts.vllm.weight_engine import PlainIPCWeightTransferEngine
from reasoning_pipeline.rollouts.weights.gathering import TensorInfo
from tests.rollouts.test_vllm_transports import HANDLE

register()
assert set(BACKENDS.values()) <= set(WeightTransferEngineFactory._registry)
assert isinstance(ours.ServersAsOne([]), VLLMWeightSyncClient)
infos = [TensorInfo("a", (2, 3), torch.bfloat16), TensorInfo("b", (300 * 2**20,), torch.float32)]
nccl = ours.init_info("nccl", 0, 3, infos)
assert isinstance(nccl, nccl_engine.NCCLTrainerInitInfo) and nccl.is_sender and nccl.world_size == 3 and nccl.packed
ipc = ours.init_info("ipc", 1, 3, infos)
assert isinstance(ipc, ipc_engine.IPCTrainerInitInfo) and not ipc.is_sender and ipc.packed
assert ipc.packed_buffer_size_bytes == 1200 * 2**20, "one tensor is larger than the usual buffer"
assert {"nccl", "ipc"} <= set(WeightTransferTrainerFactory._registry)

source = ours._source_class()()
source.begin(infos, None)
assert [(m.name, m.dtype, m.shape) for m in source.metadata()] == [(i.name, i.dtype, i.shape) for i in infos]

update = dict(names=["a"], dtype_names=["bfloat16"], shapes=[[2, 3]])
nccl_engine.NCCLWeightTransferUpdateInfo(**json.loads(json.dumps(ours.plain_update(update))))
packed = {**update, "ipc_handles": {"GPU-1": HANDLE}, "ipc_handles_pickled": None, "tensor_sizes": [12]}
sent = json.loads(json.dumps(ours.plain_update(packed)))
engine = PlainIPCWeightTransferEngine.__new__(PlainIPCWeightTransferEngine)
found = engine.parse_update_info(sent)
assert isinstance(found, ipc_engine.IPCWeightTransferUpdateInfo)
assert found.ipc_handles == {"GPU-1": HANDLE} and found.tensor_sizes == [12]
try:
    engine.parse_update_info({**update, "ipc_handles_pickled": "gASVAAA="})
except ValueError as error:
    assert "refused" in str(error)
else:
    raise AssertionError("a pickle was accepted")
print("all as vLLM has it")
"""


@pytest.mark.slow
def test_our_messages_are_vllm_s_own() -> None:
    # In a process of its own: the trainer's tests must not have vLLM imported.
    result = subprocess.run(
        [sys.executable, "-c", AGAINST_VLLM], capture_output=True, text=True, timeout=300, check=False
    )
    assert "all as vLLM has it" in result.stdout, result.stderr[-3000:]


def test_nothing_is_sent_that_is_not_set() -> None:
    assert plain_update({"names": ["a"], "ipc_handles": None, "tensor_sizes": None}) == {"names": ["a"]}
