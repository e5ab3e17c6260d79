"""Work on a thread of its own, so that whoever hands it over need not wait for it."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")


class Behind(Generic[Item]):
    """A context in which `put` hands things over; `do` takes all that wait, `most` at once. Leaving waits for the rest.

    Whatever goes wrong on the thread is raised in the caller's, at the next `put` or on leaving.
    """

    def __init__(self, do: Callable[[list[Item]], None], *, name: str, most: int = sys.maxsize) -> None:
        self._do, self._most = do, most
        self._waiting: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def put(self, item: Item) -> None:
        """Returns at once."""
        if self._error is not None:
            raise self._error
        self._waiting.put(item)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._waiting.put(None)
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def _work(self) -> None:
        try:
            while batch := self._next_batch():
                self._do(batch)
        except BaseException as error:  # carried over to the caller's thread, never swallowed
            self._error = error

    def _next_batch(self) -> list[Item]:
        """Waits for one item, then takes what else has arrived. Empty when the caller is done."""
        batch: list[Item] = []
        while len(batch) < self._most and not (batch and self._waiting.empty()):
            item = self._waiting.get()
            if item is None:
                if batch:
                    self._waiting.put(None)  # for the next call
                break
            batch.append(item)
        return batch
