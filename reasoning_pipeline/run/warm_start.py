"""Step programs forked from a process that has imported the libraries already: seconds off each of many short steps.

The standard library's fork server imports what trainers import and does nothing else: no thread, no model, no tensor.
Each step is a fork of it, with an environment, a log and a session of its own, as a program started anew would have.
It leaves when the runner is gone; a step of it watches the runner as every step does.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import forkserver, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

IMPORTED = (
    "reasoning_pipeline.workflows.reasoning.grpo",
    "reasoning_pipeline.training.distillation",
    "reasoning_pipeline.training.generating",
    "reasoning_pipeline.training.distance",
    "reasoning_pipeline.training.pretraining",
    "reasoning_pipeline.training.loop",
    "reasoning_pipeline.rollouts.transformers_sampler",
    "reasoning_pipeline.beside.evals.step",
)
"""Modules whose import is most of a short step's time."""


def prepare(environment: Mapping[str, str]) -> None:
    """Start the fork server with this environment: libraries read the number of threads when they are loaded. To be
    called before there are threads, which would meanwhile read this environment as their own process's."""
    get_context("forkserver").set_forkserver_preload(list(IMPORTED))
    with _environment(environment):
        forkserver.ensure_running()


class WarmProcess:
    """A forked step, with what the runner uses of subprocess.Popen. `prepare` has been called.

    Args:
        program: A module with a `main([CONTEXT])`.
    """

    def __init__(self, program: str, context: Path, environment: Mapping[str, str], log: Path) -> None:
        self._process: BaseProcess = get_context("forkserver").Process(
            target=_child, args=(program, str(context), dict(environment), str(log)), daemon=False
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        return self._process.exitcode

    def terminate(self) -> None:
        self._process.terminate()


def _child(program: str, context: str, environment: dict[str, str], log: str) -> None:
    import sys
    from importlib import import_module

    os.setsid()  # Ctrl-C reaches the runner alone
    os.environ.clear()
    os.environ.update(environment)
    with open(log, "wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if (threads := environment.get("OMP_NUM_THREADS")) is not None:
        import torch

        torch.set_num_threads(int(threads))  # the parent's number was read from its own environment
    sys.exit(import_module(program).main([context]))


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
