"""Rollouts asked of one server or of several: spread, sent again where a server is lost, each counted once.

What is to be written is cut into chunks of rollouts, longest expected first; each goes as one streaming request to the
server with the least outstanding. Among several servers none is given more than it writes at once, and the next chunk
when it has room: a slow one, or one whose rollouts turn out long, ends up with fewer.

A chunk's answer is read by a thread of its own and every event is handled by the calling thread, so `on_result` may
judge a group while the sockets are being read. Of a lost server the finished rollouts are kept and the others are sent
elsewhere with the same seeds; what its streams may still say is not listened to.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from reasoning_pipeline.errors import ServerError, ServerLost
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.clients.completions import (
    Completion,
    GenerationRequest,
    OnResult,
    longest_first,
    sample_seeds,
)

CHUNK_ROLLOUTS = 1024
CHUNK_TOKENS = 1_000_000
"""Prompt tokens of one request; as JSON a quarter of what the server accepts (vllm/guard.py)."""
STREAMS_PER_SERVER = 2
"""While one chunk writes its longest rollouts the next one keeps the server's batch full."""
STREAMS_IN_A_FLEET = 64
"""Of each of several servers: chunks are small, and one stays open for its longest rollout."""
CHUNKS_IN_A_FLEET = 48
"""Most of a call's, for each server, so that streams suffice."""
CHUNKS_AT_ONCE = 8
"""A server's room for rollouts is filled in so many chunks: as much finer than equal shares is the division."""
ROOM_UNTOLD = 8
"""Rollouts that one of several servers is given before its first line says how many it writes at once."""
ROOM = 256
"""Of a server that does not say it."""


class Stream(Protocol):
    """One server's answer, a JSON object a line."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The lines. Raises ServerLost when the server goes away or falls silent, ServerError on a refusal."""
        ...

    def abort(self) -> None:
        """From any thread: hang up."""
        ...


class Server(Protocol):
    """One that writes rollouts."""

    url: str

    def stream(self, path: str, body: dict[str, Any]) -> Stream:
        """POST JSON. Nothing is sent before the stream is read."""
        ...


class Asked(Protocol):
    """Whom `Dispatch` may ask. RolloutClient is one of itself, RolloutFleet of several."""

    @property
    def servers(self) -> Sequence[Server]:
        """Those not known to be lost."""
        ...

    def drop(self, server: Server, error: ServerLost) -> None:
        """Ask this one no more. Raises ServerLost where none is left."""
        ...


@dataclass(frozen=True)
class _Rollout:
    """One completion to be written: which request, which of its samples."""

    index: int
    sample: int
    seed: int


@dataclass(eq=False)
class _Chunk:
    """Rollouts sent to one server in one streaming request."""

    server: Server
    rollouts: dict[tuple[int, int], _Rollout]
    """(index, sample) -> rollout, of those not yet back."""
    indices: list[int] = field(default_factory=list)
    """Position in the body -> index of the request."""
    samples: list[list[int]] = field(default_factory=list)
    """Position in the body -> samples asked of it."""
    stream: Stream | None = None


class Dispatch:
    """One call of `generate`: what is still to be sent, what is being written where, what has come back."""

    def __init__(
        self, asked: Asked, requests: Sequence[GenerationRequest], decoding: Decoding, stop_ids: Sequence[int]
    ) -> None:
        self.asked, self.requests = asked, requests
        self.sampling = asdict(decoding) | {"stop_token_ids": list(stop_ids)}
        self.sampling.pop("seed")
        self.found: list[dict[int, Completion]] = [{} for _ in requests]
        self._pending = deque(
            _Rollout(index, sample, seed)
            for index in longest_first(requests)
            for sample, seed in enumerate(sample_seeds(requests[index]))
        )
        self._left = len(self._pending)
        self._at_once: dict[str, int] = {}
        """url -> rollouts that the server writes at the same time."""
        self._chunks: list[_Chunk] = []
        self._events: queue.SimpleQueue[tuple[_Chunk, dict[str, Any] | BaseException | None]] = queue.SimpleQueue()
        self._versions: dict[str, str] = {}

    def run(self, on_result: OnResult | None) -> list[list[Completion]]:
        """Ask, and wait for everything. See Sampler.generate."""
        try:
            while self._left or self._chunks:  # each stream to its end: the last line has the version once more
                self._send()
                chunk, event = self._events.get()
                if chunk not in self._chunks:  # its server was dropped; what it had not sent is written elsewhere
                    continue
                if isinstance(event, dict):
                    self._line(chunk, event, on_result)
                elif isinstance(event, ServerLost):
                    self._lost(chunk, event)
                elif event is not None:
                    raise event
                elif chunk.rollouts:
                    self._lost(chunk, ServerLost(f"the rollout server at {chunk.server.url} ended its answer early"))
                else:
                    self._chunks.remove(chunk)
        finally:
            for chunk in self._chunks:
                if chunk.stream is not None:
                    chunk.stream.abort()
        return [[group[sample] for sample in sorted(group)] for group in self.found]

    def _send(self) -> None:
        """Hand out chunks while there is something to send and a server with a free stream."""
        while self._pending:
            outstanding = {server: [0, 0] for server in self.asked.servers}
            for chunk in self._chunks:
                if chunk.server in outstanding:
                    outstanding[chunk.server][0] += len(chunk.rollouts)
                    outstanding[chunk.server][1] += 1
            streams = STREAMS_PER_SERVER if len(outstanding) == 1 else STREAMS_IN_A_FLEET
            most = {server: self._most(server, len(outstanding)) for server in outstanding}
            free = [
                server
                for server, (rollouts, open_) in outstanding.items()
                if open_ < streams and (len(outstanding) == 1 or rollouts < most[server])
            ]
            if not free:
                return
            server = min(free, key=lambda server: outstanding[server][0] / most[server])
            chunk = self._take(server, self._size(server, len(outstanding)))
            body = {
                "requests": [
                    _group(self.requests[index], [chunk.rollouts[index, sample].seed for sample in samples])
                    for index, samples in zip(chunk.indices, chunk.samples, strict=True)
                ],
                "sampling": self.sampling,
            }
            chunk.stream = chunk.server.stream("/v1/rollouts", body)
            self._chunks.append(chunk)
            # A daemon: where a silent server has not even begun to answer there is no socket to close.
            threading.Thread(target=self._read, args=(chunk, chunk.stream), name="rollouts", daemon=True).start()

    def _room(self, server: Server) -> int:
        return self._at_once.get(server.url, ROOM_UNTOLD)

    def _most(self, server: Server, servers: int) -> int:
        """Rollouts that a server may have at once. Until all have said their room none gets more than an equal share of
        what is left: of a few short ones, whoever answers first would write all."""
        told = all(other.url in self._at_once for other in self.asked.servers)
        return self._room(server) if told else min(self._room(server), -(-self._left // servers))

    def _size(self, server: Server, servers: int) -> int:
        """Rollouts of the next chunk for a server."""
        if servers == 1:
            return CHUNK_ROLLOUTS
        fair = -(-len(self._pending) // servers)  # the last ones are not one server's alone
        if server.url not in self._at_once:
            return min(ROOM_UNTOLD, fair)
        enough = max(self._room(server) // CHUNKS_AT_ONCE, -(-self._left // (servers * CHUNKS_IN_A_FLEET)))
        return min(CHUNK_ROLLOUTS, max(1, enough), fair)

    def _take(self, server: Server, size: int) -> _Chunk:
        chunk, tokens = _Chunk(server, {}), 0
        while self._pending and len(chunk.rollouts) < size:
            rollout = self._pending[0]
            if not chunk.indices or chunk.indices[-1] != rollout.index:
                tokens += len(self.requests[rollout.index].prompt_ids)
                if chunk.indices and tokens > CHUNK_TOKENS:
                    break
                chunk.indices.append(rollout.index)
                chunk.samples.append([])
            chunk.samples[-1].append(rollout.sample)
            chunk.rollouts[rollout.index, rollout.sample] = self._pending.popleft()
        return chunk

    def _read(self, chunk: _Chunk, stream: Stream) -> None:
        try:
            for line in stream:
                self._events.put((chunk, line))
            self._events.put((chunk, None))
        except BaseException as error:  # every ending is an event for the calling thread
            self._events.put((chunk, error))

    def _line(self, chunk: _Chunk, line: dict[str, Any], on_result: OnResult | None) -> None:
        if "error" in line:
            refusal = _refusal(chunk.server.url, line["error"], self.requests[chunk.indices[line["index"]]])
            if not isinstance(refusal, ServerLost):
                raise refusal
            self._lost(chunk, refusal)
            return
        self._check_version(chunk.server.url, line["version"])
        self._at_once.setdefault(chunk.server.url, max(1, line.get("at_once", ROOM)))
        if "token_ids" not in line:  # a sign of life, the first line or the last
            return
        index = chunk.indices[line["index"]]
        sample = chunk.samples[line["index"]][line["sample"]]
        if chunk.rollouts.pop((index, sample), None) is None:
            return
        self._left -= 1
        group = self.found[index]
        group[sample] = Completion(
            token_ids=line["token_ids"],
            logprobs=line["logprobs"],
            finish=line["finish"],
            policy_version=line["version"],
        )
        if len(group) == self.requests[index].n and on_result is not None:
            on_result(index, [group[sample] for sample in sorted(group)])

    def _check_version(self, url: str, version: str) -> None:
        self._versions[url] = self._versions.get(url, version)
        if self._versions[url] != version:
            raise ServerError(
                f"{url}: the weights changed ({self._versions[url]}, {version}) while rollouts were being written",
                remedy="another program pushes to this server; give each run its own",
            )
        if len(set(self._versions.values())) > 1:
            held = ", ".join(f"{url}: {version}" for url, version in sorted(self._versions.items()))
            raise ServerError(
                f"the rollout servers hold different weights ({held})",
                remedy="a push must reach every server of the fleet; run again, the step begins with a push to all",
            )

    def _lost(self, chunk: _Chunk, error: ServerLost) -> None:
        """Put back what the server has not finished, in front, and ask it no more."""
        for other in [other for other in self._chunks if other.server is chunk.server]:
            self._chunks.remove(other)
            if other.stream is not None:
                other.stream.abort()
            self._pending.extendleft(reversed(other.rollouts.values()))
        if chunk.server in self.asked.servers:
            self.asked.drop(chunk.server, error)
        else:
            print(f"{chunk.server.url}: already dropped ({error.message})", file=sys.stderr)


def _group(request: GenerationRequest, seeds: list[int]) -> dict[str, Any]:
    """One request as it travels."""
    group: dict[str, Any] = {"prompt_ids": request.prompt_ids, "seeds": seeds}
    if request.adapter is not None:
        group["adapter"] = str(request.adapter.resolve())
    if request.schema is not None:
        group["schema"] = request.schema
    return group


def _refusal(url: str, reason: str, request: GenerationRequest) -> ServerError:
    """What a server said about one request, as the error it means."""
    if "EngineDead" in reason:
        return ServerLost(f"the engine of the rollout server at {url} died ({reason[:200]})")
    return ServerError(
        f"the rollout server at {url} refused a prompt of {len(request.prompt_ids)} tokens: {reason[:500]}",
        remedy="shorten max_prompt_tokens or max_completion_tokens, or serve a longer context",
    )
