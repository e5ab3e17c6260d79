"""A push whose peer is killed or frozen in the middle ends. Two processes, a socket in NCCL's place, no GPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from reasoning_pipeline.errors import ServerLost, TransferCutOff
from reasoning_pipeline.models.loading import load_model
from reasoning_pipeline.rollouts.clients.client import RolloutClient
from reasoning_pipeline.rollouts.clients.fleet import RolloutFleet
from reasoning_pipeline.rollouts.weights.deadline import TransferStalled, Watch
from reasoning_pipeline.rollouts.weights.gathering import TensorInfo, whole_tensors
from reasoning_pipeline.rollouts.weights.proof import local_probe
from reasoning_pipeline.rollouts.weights.push import WeightPush
from reasoning_pipeline.rollouts.weights.vllm_transport import ServersAsOne, VLLMTransport
from tests.rollouts.pushed_to import SocketGroup
from tests.rollouts.scripted_server import ScriptedServer
from tests.rollouts.test_weight_sync import single_process

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
PIECE = torch.ones(2**16)
INFOS = [TensorInfo(f"t{i}", tuple(PIECE.shape), torch.float32) for i in range(200)]


def never(why: str) -> None:
    raise AssertionError(f"the process would have ended: {why}")


def test_what_ends_in_time_is_left_alone() -> None:
    with Watch(PATIENCE_S, abort=lambda: never("abort"), leave=never) as watch:
        watch.moved()


def test_an_error_of_the_transfer_s_own_passes_through() -> None:
    with pytest.raises(ValueError, match="own"), Watch(PATIENCE_S, abort=lambda: None, leave=never):
        raise ValueError("own")


def test_standing_still_aborts_and_says_so() -> None:
    aborted = threading.Event()
    with pytest.raises(TransferStalled, match="nothing has moved for 0 s"), Watch(0.05, abort=aborted.set, leave=never):
        assert aborted.wait(PATIENCE_S)


def test_each_part_that_arrives_begins_the_time_anew() -> None:
    watch = Watch(PATIENCE_S, abort=lambda: never("abort"), leave=never)
    with watch:
        before = watch._until
        watch.moved()
        assert watch._until > before


def test_a_peer_known_to_be_gone_is_not_waited_for() -> None:
    aborted = threading.Event()
    with pytest.raises(TransferStalled, match="server 3"), Watch(3600, abort=aborted.set, leave=never) as watch:
        watch.cancel("server 3 is gone")
        assert aborted.wait(PATIENCE_S)


def test_where_the_abort_hangs_too_the_process_ends() -> None:
    left: Future[str] = Future()
    hang = threading.Event()
    with (
        pytest.raises(TransferStalled),
        Watch(0.05, abort=lambda: hang.wait(PATIENCE_S) and None, leave=left.set_result, grace_s=0.05),
    ):
        assert "does not return" in left.result(PATIENCE_S)
    hang.set()


class Peer:
    """A process that answers vLLM's routes as a server with one worker does, and receives through a socket."""

    def __init__(self, *, silence_s: float = 3600) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.rollouts.pushed_to"], cwd=PROJECT, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "REASONING_PIPELINE_SILENCE_S": str(silence_s)},
        )  # fmt: skip
        assert self.process.stdout is not None
        url, self.port = self.process.stdout.readline().split()
        self.client = RolloutClient(url, key="k", timeout_s=PATIENCE_S, silence_s=2.0)

    def group(self) -> SocketGroup:
        return SocketGroup.connect(int(self.port))

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def peers() -> Iterator[list[Peer]]:
    made: list[Peer] = []
    yield made
    for peer in made:
        peer.end()


class Sender:
    """vLLM's NCCL trainer engine without CUDA: the same order of calls, the same blocking in the middle."""

    def __init__(self, client: ServersAsOne, source: Any, groups: list[SocketGroup]) -> None:
        self.client, self.source, self.model_update_group = client, source, SocketGroup.together(groups)

    def send_weights(self) -> None:
        self.client.start_weight_update()
        answered: Future[None] = Future()

        def ask() -> None:
            try:
                self.client.update_weights({"names": ["t"], "dtype_names": ["float32"], "shapes": [[1]]})
                answered.set_result(None)
            except Exception as error:
                answered.set_exception(error)

        threading.Thread(target=ask, daemon=True).start()
        for _, tensor in self.source:
            self.model_update_group.broadcast(tensor)
        answered.result()
        self.client.finish_weight_update()

    def shutdown(self) -> None: ...


class OverSockets(VLLMTransport):
    """Our transport on CPUs: only the communicator and the device are others."""

    def __init__(self, peers: dict[RolloutClient, Peer]) -> None:
        super().__init__("nccl", rank=0)
        self.peers = peers

    def _open(self, servers: Any, infos: Any) -> None:
        self.close()
        self._client = ServersAsOne(servers)
        self._source = OnCPU()
        self._engine = Sender(self._client, self._source, [self.peers[server].group() for server in servers])


class OnCPU:
    def begin(self, infos: Any, tensors: Any, moved: Any) -> None:
        self.tensors, self.moved = tensors, moved

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in self.tensors():
            self.moved()
            yield name, tensor.contiguous()


def in_the_middle(act: Any) -> Any:
    def tensors() -> Iterator[tuple[str, torch.Tensor]]:
        for number, info in enumerate(INFOS):
            if number == 5:
                act()
            yield info.name, PIECE

    return tensors


@pytest.mark.slow
def test_a_push_arrives(peers: list[Peer]) -> None:
    peers.append(peer := Peer())
    done = OverSockets({peer.client: peer}).send([peer.client], INFOS, in_the_middle(lambda: None), "a:1", full=False)
    done[peer.client].result(PATIENCE_S)
    assert peer.client.policy_version() == "a:1"


@pytest.mark.slow
@pytest.mark.parametrize(("how", "why"), [(signal.SIGKILL, "is gone"), (signal.SIGSTOP, "stood still in a push")])
def test_a_server_killed_or_frozen_in_the_middle_is_lost_and_the_trainer_goes_on(
    peers: list[Peer], how: signal.Signals, why: str
) -> None:
    peers.append(peer := Peer())
    started = time.monotonic()
    strike = in_the_middle(lambda: os.kill(peer.process.pid, how))
    done = OverSockets({peer.client: peer}).send([peer.client], INFOS, strike, "a:1", full=False)
    with pytest.raises(ServerLost, match=why):
        done[peer.client].result(0)
    assert time.monotonic() - started < PATIENCE_S, "a frozen one would have kept it for ever"


@pytest.mark.slow
def test_of_two_servers_the_one_that_lives_is_only_cut_off(peers: list[Peer]) -> None:
    peers.extend([doomed := Peer(), other := Peer(silence_s=1.0)])
    transport = OverSockets({doomed.client: doomed, other.client: other})
    both = [doomed.client, other.client]
    strike = in_the_middle(lambda: os.kill(doomed.process.pid, signal.SIGKILL))
    done = transport.send(both, INFOS, strike, "a:1", full=False)
    with pytest.raises(ServerLost):
        done[doomed.client].result(0)
    with pytest.raises(TransferCutOff):
        done[other.client].result(0)
    # Its worker ends by its own deadline, so that a new group can be made with it.
    again = transport.send([other.client], INFOS, in_the_middle(lambda: None), "a:2", full=True)
    again[other.client].result(PATIENCE_S)
    assert other.client.policy_version() == "a:2"


@pytest.mark.slow
def test_a_server_whose_trainer_was_killed_in_the_middle_takes_the_next_push(peers: list[Peer]) -> None:
    peers.append(peer := Peer(silence_s=1.0))
    peer.client.post("/start_weight_update", {})
    group = peer.group()
    answer: Future[None] = Future()

    def update() -> None:
        try:
            answer.set_result(peer.client.post("/update_weights", {"update_info": {}}))
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=update, daemon=True).start()
    group.broadcast(PIECE)  # and then nothing more: the connection stays open, as a frozen trainer's does
    with pytest.raises(ServerLost, match="nothing has moved"):  # by the worker's own deadline
        answer.result(PATIENCE_S)
    done = OverSockets({peer.client: peer}).send([peer.client], INFOS, in_the_middle(lambda: None), "b:1", full=False)
    done[peer.client].result(PATIENCE_S)
    assert peer.client.policy_version() == "b:1"


def test_a_fleet_that_loses_a_server_in_a_push_pushes_again_to_the_one_left(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted = ScriptedServer(), ScriptedServer()
    model = load_model(tiny_model)
    for server in scripted:
        server.scores = local_probe(model, single_process()).logprobs
    lost, left = (RolloutClient(server.url, key="k") for server in scripted)
    fleet = RolloutFleet([lost, left])
    push = WeightPush(fleet, single_process(), Path("/dev/shm"), "float32")
    fulls: list[bool] = []
    passed: list[int] = []
    gathered: list[str] = []

    def gather(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in whole_tensors(model):
            gathered.append(name)
            yield name, tensor

    monkeypatch.setattr("reasoning_pipeline.rollouts.weights.push.whole_tensors", gather)

    def send(servers: Any, infos: Any, tensors: Any, version: str, *, full: bool) -> dict[Any, Future[None]]:
        fulls.append(full)
        passed.append(0)
        for _ in tensors():
            passed[-1] += 1
            if not full:
                break  # other trainer processes go on gathering
        done: dict[Any, Future[None]] = {server: Future() for server in servers}
        for server, future in done.items():
            if server is lost:
                future.set_exception(ServerLost("gone"))
            elif full:
                future.set_result(None)
            else:
                future.set_exception(TransferCutOff("cut off"))
        return done

    push.transport = SimpleNamespace(send=send, close=lambda: None)  # type: ignore[assignment]
    push.push(model, "a:1")
    assert fulls == [False, True] and fleet.servers == [left] and push.difference < 1e-4
    assert passed[0] == 1 and len(gathered) == 2 * passed[1], "the pass that was cut off was gathered to its end"
    for server in scripted:
        server.close()
