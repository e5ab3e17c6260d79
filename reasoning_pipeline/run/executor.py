"""What runs the steps that are ready: threads, each watching one step's process, or the main thread alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def step_executor(parallel: int) -> Executor:
    """An executor of at most `parallel` steps at a time."""
    return ThreadPoolExecutor(parallel, thread_name_prefix="step") if parallel > 1 else _InTurn()


class _InTurn(Executor):
    """One at a time, in the caller's thread: Ctrl-C arrives in the main one, and ends whatever a step waits for."""

    def submit(
        self, function: Callable[Arguments, Result], /, *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Future[Result]:
        """What the function raises comes out here, not from the future."""
        future: Future[Result] = Future()
        future.set_result(function(*arguments, **named))
        return future
