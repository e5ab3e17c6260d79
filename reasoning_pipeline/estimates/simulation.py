"""Optimizer steps, event by event: rollouts of their own lengths, servers that take them as they have room, trainers
that share the rows, and the push between. Where `hours.py` has formulas for a whole batch, this has who waits for whom.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

StepSeconds = Callable[[float, float], float]
"""(rollouts being written, their mean context in tokens) -> seconds of one token for each of them."""


@dataclass(frozen=True, kw_only=True)
class Machines:
    """What works on a step.

    Example:
        Machines(servers=4, at_once=256, step_seconds=decoder.step_seconds, processes=4, row_seconds=lambda n: n * 1e-4,
                 push_seconds=1.5, ahead=True)
    """

    servers: int
    at_once: int
    """Rollouts that one server writes at the same time."""
    step_seconds: StepSeconds
    processes: int
    """Of the trainer."""
    row_seconds: Callable[[float], float]
    """Of one process, for a row of so many tokens, prompt and completion."""
    optimizer_seconds: float = 0.0
    """Of an optimizer step, whatever its rows."""
    push_seconds: float = 0.0
    begin_seconds: float = 0.0
    """Until the first token of a batch."""
    ahead: bool = False


@dataclass(frozen=True)
class Simulated:
    """Means over the steps after the first, in which nothing could have been written ahead."""

    seconds: float
    generating: float
    training: float
    trainer_idle: float
    """Share of the time in which the trainer waits for rollouts; likewise a server that writes none."""
    server_idle: float


@dataclass(order=True)
class _Server:
    at: float
    """When its next rollout is complete."""
    number: int
    ends: list[float] = field(default_factory=list, compare=False)
    """Tokens after which each rollout is complete, counted from this server's beginning; a heap."""
    written: float = field(default=0.0, compare=False)
    """Tokens of each rollout, up to the last event."""

    def look_ahead(self, prompt: float, step_seconds: StepSeconds) -> None:
        """To the next event: until then as many are written as now."""
        context = prompt + (self.written + self.ends[0]) / 2
        self.at += (self.ends[0] - self.written) * step_seconds(len(self.ends), context)


def generation_seconds(lengths: Sequence[float], prompt: float, machines: Machines) -> float:
    """Until the last rollout of a batch is written. Rollouts go to whichever server has room, in the order given."""
    waiting = list(reversed(lengths))
    servers = [_Server(0.0, number) for number in range(machines.servers)]
    while waiting and any(len(server.ends) < machines.at_once for server in servers):
        server = min(servers, key=lambda server: len(server.ends))
        heapq.heappush(server.ends, waiting.pop())
    queue = [server for server in servers if server.ends]
    for server in queue:
        server.look_ahead(prompt, machines.step_seconds)
    heapq.heapify(queue)
    last = 0.0
    while queue:
        # One event: the shortest of a server's rollouts is complete, and its place is taken.
        server = heapq.heappop(queue)
        last, server.written = server.at, heapq.heappop(server.ends)
        if waiting:
            heapq.heappush(server.ends, server.written + waiting.pop())
        if server.ends:
            server.look_ahead(prompt, machines.step_seconds)
            heapq.heappush(queue, server)
    return machines.begin_seconds + last


def training_seconds(lengths: Sequence[float], prompt: float, machines: Machines) -> float:
    """Of the busiest process: rows longest first, each to the one with the least, as training/passes.py divides."""
    loads = [0.0] * machines.processes
    heapq.heapify(loads)
    for length in sorted(lengths, reverse=True):
        heapq.heapreplace(loads, loads[0] + machines.row_seconds(prompt + length))
    return max(loads) + machines.optimizer_seconds


def simulate(batches: Sequence[Sequence[float]], prompt: float, machines: Machines) -> Simulated:
    """So many optimizer steps, one a batch of completion lengths; two at least."""
    alike = {id(batch): batch for batch in batches}  # the same batch again and again is looked at once
    by_batch = {name: generation_seconds(batch, prompt, machines) for name, batch in alike.items()}
    written = [by_batch[id(batch)] for batch in batches]
    trained = [training_seconds(batch, prompt, machines) for batch in batches]
    now, waited, began = 0.0, 0.0, 0.0
    ready = None
    """When the batch in flight is complete."""
    for step, (writes, trains) in enumerate(zip(written, trained, strict=True)):
        if step == 1:
            began, waited = now, 0.0
        now += machines.push_seconds  # a batch in flight is complete by now: it was waited for
        if ready is None:
            now, waited = now + writes, waited + writes
        following = written[min(step + 1, len(batches) - 1)]  # as if it went on
        ready = now + following if machines.ahead else None
        now += trains
        if ready is not None and ready > now:
            waited += ready - now
            now = ready
    steps = len(batches) - 1
    seconds = (now - began) / steps
    generating = sum(written[1:]) / steps
    return Simulated(
        seconds, generating, sum(trained[1:]) / steps, waited / steps / seconds, max(0.0, 1 - generating / seconds)
    )
