"""Worker processes for answers that need algebra: one answer at a time each, killed at the limit, replaced when dead.

A process is the only safe boundary: one big-integer power holds the interpreter lock until it is done, so neither a
watchdog thread nor an alarm nor `future.result(timeout)` would get a turn. Any thread may call `run`; calls share the
workers. After a fork the child forgets its parent's workers and starts its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from types import MappingProxyType
from typing import Any

Reply = dict[str, Any]

RECYCLE_AFTER = 4_000
"""Requests after which a worker retires, so that what libraries cache cannot grow without end."""
_START_LIMIT_S = 120.0
_COMMAND = (sys.executable, "-m", "reasoning_pipeline.verifier.worker")
_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])


class _Worker:
    """One process and its two pipes."""

    def __init__(
        self,
        command: Sequence[str],
        time_limit_s: float,
        memory_limit_mb: int,
        environment: Mapping[str, str],
        quiet: bool,
    ) -> None:
        surroundings = {**os.environ, **environment}
        path = os.pathsep.join(filter(None, (_PACKAGE_ROOT, surroundings.get("PYTHONPATH"))))
        threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            env=surroundings | threads | {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
            bufsize=0,
            start_new_session=True,  # Ctrl-C in the terminal is for the caller, which then closes the pool
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.input, self.output = self.process.stdin, self.process.stdout
        self.time_limit_s = time_limit_s
        self.served = 0
        self.ready = False
        self.received = b""
        self.deadline = time.monotonic() + _START_LIMIT_S
        self.send({"time_s": time_limit_s, "memory_mb": memory_limit_mb})

    def send(self, request: Reply) -> None:
        if self.ready:
            self.deadline = time.monotonic() + self.time_limit_s
        with contextlib.suppress(BrokenPipeError):  # a dead worker shows when it is read
            self.input.write(json.dumps(request).encode() + b"\n")

    def receive(self) -> Reply | None:
        """The next reply if it is complete; raises EOFError when the worker is gone."""
        chunk = os.read(self.output.fileno(), 65536)
        if not chunk:
            raise EOFError
        self.received += chunk
        while b"\n" in self.received:
            line, self.received = self.received.split(b"\n", 1)
            reply: Reply = json.loads(line)
            if "ready" not in reply:
                self.served += 1
                return reply
            self.ready = True
            self.deadline = time.monotonic() + self.time_limit_s
        return None

    def kill(self) -> int | None:
        """Ends the process and those of its session that it started; returns its exit status."""
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.forget()
        return self.process.wait()

    def forget(self) -> None:
        for pipe in (self.input, self.output):
            with contextlib.suppress(OSError):
                pipe.close()


class WorkerPool:
    """At most `workers` processes, started when first needed.

    Promises one reply per request, in order. Does not promise that a killed request left no trace outside its process;
    nothing it runs is meant to have any.
    """

    def __init__(
        self,
        workers: int,
        *,
        time_limit_s: float,
        memory_limit_mb: int,
        command: Sequence[str] = _COMMAND,
        environment: Mapping[str, str] = MappingProxyType({}),
        quiet: bool = True,
    ) -> None:
        """`quiet` throws away what the workers write to stderr, and to stdout, which joins it."""
        self.workers = max(1, workers)
        self.time_limit_s = time_limit_s
        self.memory_limit_mb = memory_limit_mb
        self.command = command
        self.environment, self.quiet = environment, quiet
        self.closed = False
        self._reset()
        _POOLS.add(self)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._idle: list[_Worker] = []
        self._alive: set[_Worker] = set()
        self.restarts = 0
        self.timeouts = 0

    def run(self, requests: Sequence[Reply]) -> list[Reply]:
        """The reply to every request, in order; a request that kills its worker or outlasts the limit gets its own."""
        replies: list[Reply | None] = [None] * len(requests)
        waiting = deque(range(len(requests)))
        busy: dict[_Worker, int] = {}
        try:
            while waiting or busy:
                while waiting and (worker := self._take(block=not busy)) is not None:
                    index = waiting.popleft()
                    busy[worker] = index
                    worker.send(requests[index])
                self._collect(busy, replies)
        finally:  # an interrupt leaves requests behind; their workers are in no state to be used again
            for worker in busy:
                self._discard(worker)
        return [reply if reply is not None else {"status": "error", "rule": "no reply"} for reply in replies]

    def _collect(self, busy: dict[_Worker, int], replies: list[Reply | None]) -> None:
        now = time.monotonic()
        nearest = min(worker.deadline for worker in busy)
        by_pipe = {worker.output.fileno(): worker for worker in busy}
        for pipe in wait(list(by_pipe), timeout=max(0.0, nearest - now)):
            assert isinstance(pipe, int)
            worker = by_pipe[pipe]
            try:
                reply = worker.receive()
            except EOFError:
                status = self._discard(worker)
                reply = {"status": "error", "rule": f"worker died ({_exit(status)})"}
                replies[busy.pop(worker)] = reply
                continue
            if reply is not None:
                replies[busy.pop(worker)] = reply
                self._give_back(worker, leaving=bool(reply.get("leaving")))
        for worker in [worker for worker in busy if worker.deadline <= time.monotonic()]:
            self._discard(worker)
            self.timeouts += worker.ready
            rule = f"over {self.time_limit_s:g} s" if worker.ready else "worker did not start"
            replies[busy.pop(worker)] = {"status": "timeout" if worker.ready else "error", "rule": rule}

    def _take(self, *, block: bool) -> _Worker | None:
        with self._changed:
            while True:
                if self.closed:
                    raise RuntimeError("this verifier is closed; make a new one")
                if self._idle:
                    return self._idle.pop()
                if len(self._alive) < self.workers:
                    worker = _Worker(
                        self.command, self.time_limit_s, self.memory_limit_mb, self.environment, self.quiet
                    )
                    self._alive.add(worker)
                    return worker
                if not block:
                    return None
                self._changed.wait()

    def _give_back(self, worker: _Worker, *, leaving: bool) -> None:
        if leaving or worker.served >= RECYCLE_AFTER or self.closed:
            self._discard(worker, retired=True)
            return
        with self._changed:
            self._idle.append(worker)
            self._changed.notify()

    def _discard(self, worker: _Worker, *, retired: bool = False) -> int | None:
        status = worker.kill()
        with self._changed:
            self._alive.discard(worker)
            self.restarts += not (self.closed or retired)
            self._changed.notify()
        return status

    def processes(self) -> list[int]:
        """Process ids of the living workers."""
        with self._changed:
            return [worker.process.pid for worker in self._alive]

    def close(self) -> None:
        """Ends every idle worker; one that is busy ends when its answer is in."""
        with self._changed:
            self.closed = True
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        for worker in idle:
            self._discard(worker)

    def after_fork(self) -> None:
        """In a forked child: the workers belong to the parent."""
        for worker in self._alive:
            worker.forget()
            worker.process.returncode = 0  # not ours to wait for
        self._reset()


def _exit(status: int | None) -> str:
    return f"signal {-status}" if status is not None and status < 0 else f"exit status {status}"


_POOLS: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


def _forget_parents_workers() -> None:
    for pool in list(_POOLS):
        pool.after_fork()


os.register_at_fork(after_in_child=_forget_parents_workers)
