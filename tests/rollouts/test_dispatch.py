"""Spreading rollouts over servers, with scripted servers: whatever dies when, each rollout comes back exactly once."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_pipeline.errors import ServerError, ServerLost
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.clients import dispatch as generation
from reasoning_pipeline.rollouts.clients.client import RolloutClient
from reasoning_pipeline.rollouts.clients.completions import GenerationRequest, sample_seeds
from reasoning_pipeline.rollouts.clients.fleet import RolloutFleet

DECODING = Decoding(max_tokens=4)
REQUESTS = [GenerationRequest(prompt_ids=[10 + i], n=1 + i % 3, seed=i) for i in range(20)]


class Scripted(RolloutClient):
    """A server that writes each rollout's seed as its tokens; it is lost after `lines` rollouts of any one stream."""

    def __init__(self, name: str, *, lines: int | None = None, version: str = "v") -> None:
        super().__init__(f"http://{name}", key="none")
        self.lines, self.version = lines, version
        self.bodies: list[dict[str, Any]] = []
        self.aborted = 0

    def stream(self, path: str, body: dict[str, Any]) -> Any:
        self.bodies.append(body)
        return Script(self, body)


class Script:
    def __init__(self, server: Scripted, body: dict[str, Any]) -> None:
        self.server, self.body = server, body

    def abort(self) -> None:
        self.server.aborted += 1

    def __iter__(self) -> Iterator[dict[str, Any]]:
        version = self.server.version
        yield {"version": version}
        asked = [
            (index, sample, seed)
            for index, request in enumerate(self.body["requests"])
            for sample, seed in enumerate(request["seeds"])
        ]
        for written, (index, sample, seed) in enumerate(reversed(asked)):
            if written == self.server.lines:
                raise ServerLost(f"{self.server.url} is gone")
            yield {"index": index, "sample": sample, "version": version, "token_ids": [seed], "logprobs": [-0.5],
                   "finish": "stop"}  # fmt: skip
        yield {"version": version}


def check(found: list[list[generation.Completion]], told: list[int]) -> None:
    assert [[c.token_ids for c in group] for group in found] == [
        [[seed] for seed in sample_seeds(request)] for request in REQUESTS
    ], "every rollout once, in order, with its own seed"
    assert Counter(told) == Counter(range(len(REQUESTS))), "each request told exactly once"


@settings(deadline=None, max_examples=60)
@given(
    lines=st.lists(st.one_of(st.none(), st.integers(0, 12)), min_size=1, max_size=4),
    share=st.sampled_from([1, 3, 1024]),
)
def test_whatever_dies_when_nothing_is_lost_or_doubled(lines: list[int | None], share: int) -> None:
    fleet = RolloutFleet([*(Scripted(f"s{i}", lines=n) for i, n in enumerate(lines)), Scripted("last")])
    told: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generation, "CHUNK_ROLLOUTS", share)
        check(fleet.generate(REQUESTS, DECODING, stop_ids=[2], on_result=lambda index, _: told.append(index)), told)


def test_the_loss_of_the_last_server_is_the_callers_and_says_what_became_of_each() -> None:
    fleet = RolloutFleet([Scripted("a", lines=3), Scripted("b", lines=5)])
    with pytest.raises(ServerLost, match="none of the 2 rollout servers is left") as caught:
        fleet.generate(REQUESTS, DECODING, stop_ids=[2])
    assert "http://a is gone" in str(caught.value) and "http://b is gone" in str(caught.value)
    with pytest.raises(ServerLost, match="http://a is gone"):
        Scripted("a", lines=3).generate(REQUESTS, DECODING, stop_ids=[2])


def test_a_dropped_server_is_not_asked_again() -> None:
    lost, kept = Scripted("a", lines=0), Scripted("b")
    fleet = RolloutFleet([lost, kept])
    fleet.generate(REQUESTS, DECODING, stop_ids=[2])
    assert fleet.servers == [kept]
    asked = len(lost.bodies)
    fleet.generate(REQUESTS, DECODING, stop_ids=[2])
    assert len(lost.bodies) == asked


def test_work_is_spread_evenly_and_a_long_batch_goes_in_bounded_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = [Scripted("a"), Scripted("b")]
    RolloutFleet(servers).generate(REQUESTS, DECODING, stop_ids=[2])
    # Eight to each before it has said what it has room for.
    sizes = [[sum(len(r["seeds"]) for r in body["requests"]) for body in server.bodies] for server in servers]
    assert sum(map(sum, sizes)) == 39 and sizes[0][0] == sizes[1][0] == 8 and max(map(len, sizes)) <= 6
    monkeypatch.setattr(generation, "CHUNK_ROLLOUTS", 7)
    alone = Scripted("c")
    alone.generate(REQUESTS, DECODING, stop_ids=[2])
    assert [sum(len(r["seeds"]) for r in body["requests"]) for body in alone.bodies] == [7, 7, 7, 7, 7, 4]
    monkeypatch.setattr(generation, "CHUNK_TOKENS", 2)
    short = Scripted("d")
    short.generate(REQUESTS, DECODING, stop_ids=[2])
    assert max(sum(len(r["prompt_ids"]) for r in body["requests"]) for body in short.bodies) == 2


class Paced(Scripted):
    """Writes `at_once` rollouts at the same time, each in `seconds`; its first line comes after `begins_after`."""

    def __init__(self, name: str, *, at_once: int, seconds: float, begins_after: float = 0.0) -> None:
        super().__init__(name)
        self.seconds, self.at_once, self.slots = seconds, at_once, threading.Semaphore(at_once)
        self.begins_after = begins_after

    def stream(self, path: str, body: dict[str, Any]) -> Any:
        self.bodies.append(body)
        return self._lines(body)

    def _lines(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        time.sleep(self.begins_after)
        yield {"version": "v", "at_once": self.at_once}
        for line in Script(self, body):
            if "index" not in line:
                continue
            with self.slots:
                time.sleep(self.seconds)
            yield line


def test_a_slow_server_is_given_fewer() -> None:
    """A server four times as fast ought to write four fifths: 48 of 60. Equal shares would be 30 each."""
    slow, fast = Paced("slow", at_once=4, seconds=0.04), Paced("fast", at_once=4, seconds=0.01)
    requests = [GenerationRequest(prompt_ids=[5], seed=i) for i in range(60)]
    RolloutFleet([slow, fast]).generate(requests, DECODING, stop_ids=[2])
    written = [sum(len(r["seeds"]) for body in server.bodies for r in body["requests"]) for server in (slow, fast)]
    assert sum(written) == 60 and written[0] <= 22


def test_who_says_its_room_first_does_not_take_what_another_could_write() -> None:
    late = Paced("late", at_once=64, seconds=0.05, begins_after=0.05)
    fleet = RolloutFleet([Paced("prompt", at_once=64, seconds=0.05), late])
    fleet.generate(REQUESTS, DECODING, stop_ids=[2])
    assert sum(len(r["seeds"]) for body in late.bodies for r in body["requests"]) > 12  # of 39; it had 8 of them


def test_what_is_expected_to_take_longest_is_begun_first() -> None:
    expected: list[float | None] = [5, None, 50, 20, None]  # what is not known counts as the mean, 25
    requests = [GenerationRequest(prompt_ids=[i], seed=i, expected_tokens=e) for i, e in enumerate(expected)]
    server = Scripted("a")
    server.generate(requests, DECODING, stop_ids=[2])
    assert [r["prompt_ids"] for r in server.bodies[0]["requests"]] == [[2], [1], [4], [3], [0]]


def test_servers_with_different_weights_are_not_mixed() -> None:
    fleet = RolloutFleet([Scripted("a", version="demo:1"), Scripted("b", version="demo:2")])
    with pytest.raises(ServerError, match="hold different weights") as caught:
        fleet.generate(REQUESTS, DECODING, stop_ids=[2])
    assert "http://a: demo:1" in str(caught.value) and "http://b: demo:2" in str(caught.value)


def test_what_on_result_raises_ends_the_generation_and_hangs_up() -> None:
    server = Scripted("a")

    def full(index: int, group: Any) -> None:
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        server.generate(REQUESTS, DECODING, stop_ids=[2], on_result=full)
    assert server.aborted == 1


def test_parts_of_a_lost_server_are_scored_by_the_others_in_order() -> None:
    servers = [Scripted("a"), Scripted("b"), Scripted("c")]
    fleet = RolloutFleet(servers)

    def ask(server: RolloutClient, part: Any) -> list[int]:
        if server is servers[1]:
            raise ServerLost("b is gone")
        return [10 * item for item in part]

    assert fleet.spread(ask, list(range(10))) == [10 * item for item in range(10)]
    assert fleet.servers == [servers[0], servers[2]]


@pytest.fixture
def talking() -> Iterator[Callable[[float, int], RolloutClient]]:
    """A server on a socket that begins a stream, says `count` lines, one every `pause` seconds, and then nothing."""
    listening = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def start(pause: float, count: int) -> RolloutClient:
        def answer() -> None:
            connection, _ = listening.accept()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(count):
                line = json.dumps({"version": "v"}).encode() + b"\n"
                connection.sendall(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                time.sleep(pause)
            done.wait()
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        return RolloutClient(f"http://127.0.0.1:{listening.getsockname()[1]}", key="none", silence_s=0.4)

    yield start
    done.set()
    listening.close()


def test_signs_of_life_keep_a_slow_server_and_silence_ends_it(talking: Any) -> None:
    client = talking(0.2, 5)  # a second of signs of life, more than twice the deadline; then silence
    started = time.monotonic()
    with pytest.raises(ServerLost, match="is silent beyond the deadline"):
        client.generate(REQUESTS, DECODING, stop_ids=[2])
    assert 1.2 < time.monotonic() - started < 2.5


def test_an_aborted_stream_wakes_its_reader_at_once(talking: Any) -> None:
    client = talking(0.0, 1)
    client.silence_s = 30
    stream = client.stream("/v1/rollouts", {})
    lines = iter(stream)
    assert next(lines) == {"version": "v"}
    threading.Timer(0.1, stream.abort).start()
    started = time.monotonic()
    assert list(lines) == []
    assert time.monotonic() - started < 2
