"""Calls of a function of one's own, in worker processes: bounded in time and memory, killed when they hang."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reasoning_pipeline.base.ownership import owner_environment
from reasoning_pipeline.verifier.pool import WorkerPool

_WORKER = "reasoning_pipeline.custom.worker"


@dataclass(frozen=True)
class Answer:
    """What one call came to: a value, or a fault of the code with its place, or that it was `lost` (hung or died)."""

    value: Any = None
    fault: str | None = None
    lost: str | None = None
    timed_out: bool = False
    at: int | None = None
    """Under `each`, which of the call's items the fault concerns."""


class OwnFunction:
    """A function in a file or a module, called in other processes.

    Args:
        source: The file's path, or a dotted module name.
        time_limit_s: Of one call; a call that takes longer is ended.
        memory_limit_mb: Address space of a worker, its libraries included.
        each: A call has one argument, a list, and the function is called with each of its items.
    """

    def __init__(
        self,
        source: str,
        function: str,
        *,
        time_limit_s: float,
        memory_limit_mb: int,
        workers: int | None = None,
        each: bool = False,
    ) -> None:
        self.source, self.function, self.time_limit_s = source, function, time_limit_s
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.pool = WorkerPool(
            workers if workers is not None else max(1, min(8, processors)),
            time_limit_s=time_limit_s,
            memory_limit_mb=memory_limit_mb,
            command=(sys.executable, "-m", _WORKER, source, function, *(["each"] if each else [])),
            environment=owner_environment() | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            quiet=False,
        )

    def __str__(self) -> str:
        return f"{os.path.basename(self.source)}:{self.function}"

    def call(self, calls: Sequence[Sequence[Any]], options: Mapping[str, Any] | None = None) -> list[Answer]:
        """One answer a call, in order. Arguments and values travel as JSON."""
        replies = self.pool.run([{"arguments": list(call), "options": dict(options or {})} for call in calls])
        return [_answer(reply) for reply in replies]

    def close(self) -> None:
        self.pool.close()


def _answer(reply: dict[str, Any]) -> Answer:
    if "value" in reply:
        return Answer(value=reply["value"])
    if "fault" in reply:
        return Answer(fault=reply["fault"], at=reply.get("at"))
    return Answer(lost=str(reply.get("rule")), timed_out=reply.get("status") == "timeout")
