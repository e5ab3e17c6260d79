"""Several rollout servers with the same weights, used as one: data parallel generation and scoring.

A server that dies or falls silent is dropped for the rest of the step, and what it had not finished is sent to the
others; only when none is left is there ServerLost. The runner starts a lost one again before the next step: it would
come back with other weights, and a step pushes to the servers that it began with. Each process of a distributed
trainer drops for itself what it finds lost.

Seeds travel with each rollout, so which server writes it does not matter to what is drawn, except for rounding: the
logits of a sequence depend in the last bits on what else is in the batch. On CPUs in float32 the same tokens were
drawn on one server and on two (tests/rollouts/test_fleet.py); in bfloat16 on GPUs that is not promised.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from reasoning_pipeline.errors import ServerError, ServerLost
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.clients.client import RolloutClient
from reasoning_pipeline.rollouts.clients.completions import Completion, GenerationRequest, OnResult
from reasoning_pipeline.rollouts.clients.dispatch import Dispatch, Server

Item = TypeVar("Item")
Result = TypeVar("Result")


class RolloutFleet:
    """A Sampler over several servers. Any thread may call any method."""

    def __init__(self, servers: Sequence[RolloutClient]) -> None:
        if not servers:
            raise ValueError("a fleet has at least one server")
        self._servers = list(servers)
        self._lost: dict[str, str] = {}
        self._changing = threading.Lock()

    def close(self) -> None:
        for server in self._servers:
            server.close()

    @property
    def servers(self) -> list[RolloutClient]:
        """Those not known to be lost; a push goes to each."""
        with self._changing:
            return [server for server in self._servers if server.url not in self._lost]

    def drop(self, server: Server, error: ServerLost) -> None:
        """Ask this one no more. Raises ServerLost, naming what became of each, where none is left."""
        with self._changing:
            known = server.url in self._lost
            self._lost.setdefault(server.url, error.message)
            left = len(self._servers) - len(self._lost)
        if left == 0:
            ends = "\n".join(f"  - {message}" for message in self._lost.values())
            raise ServerLost(f"none of the {len(self._servers)} rollout servers is left:\n{ends}")
        if not known:
            print(f"{error.message}; going on with {left} of {len(self._servers)} servers", file=sys.stderr, flush=True)

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        decoding: Decoding,
        *,
        stop_ids: Sequence[int],
        on_result: OnResult | None = None,
    ) -> list[list[Completion]]:
        """See Sampler.generate. Raises ServerError where the servers do not hold the same policy version."""
        return Dispatch(self, requests, decoding, stop_ids).run(on_result)

    def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """See RolloutClient.score; each server scores a part."""
        return self.spread(lambda server, part: server.score(part), sequences)

    def spread(
        self, ask: Callable[[RolloutClient, Sequence[Item]], Sequence[Result]], items: Sequence[Item]
    ) -> list[Result]:
        """`ask(server, part)` of each server in a thread of its own, parts side by side; one result an item, in order.

        A part whose server is lost is asked of those that are left.
        """
        servers = self.servers
        if not servers or not items:
            return []
        size = -(-len(items) // len(servers))
        parts = [items[start : start + size] for start in range(0, len(items), size)]
        results: list[Result] = []
        with ThreadPoolExecutor(len(parts)) as threads:
            answers = [threads.submit(ask, server, part) for server, part in zip(servers, parts, strict=False)]
            for server, part, answer in zip(servers, parts, answers, strict=False):
                try:
                    results += answer.result()
                except ServerLost as error:
                    self.drop(server, error)
                    results += self.spread(ask, part)
        return results

    def policy_version(self) -> str:
        """The version all servers hold. Raises ServerError where they differ."""
        versions = {server.url: server.policy_version() for server in self.servers}
        if len(set(versions.values())) > 1:
            held = ", ".join(f"{url}: {version}" for url, version in versions.items())
            raise ServerError(
                f"the rollout servers hold different weights ({held})", remedy="push to every server of the fleet"
            )
        return next(iter(versions.values()))

    def healthy(self) -> bool:
        """Whether at least one server answers now."""
        return any(server.healthy() for server in self.servers)
