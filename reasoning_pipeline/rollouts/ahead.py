"""A batch of rollouts that is written while the optimizer works on the one before it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path

from reasoning_pipeline.rollouts.clients.completions import Completion


@dataclass(frozen=True, kw_only=True)
class WrittenBatch:
    """One process's share of the rollouts of one optimizer step."""

    step: int
    prompts: list[list[int]]
    completions: list[Completion]
    seconds: float
    """How long the writing took."""

    def save(self, folder: Path, process: int) -> None:
        aside = _file(folder, process).with_suffix(".aside")
        aside.write_text(json.dumps(asdict(self)), encoding="utf-8")
        aside.replace(_file(folder, process))

    @classmethod
    def load(cls, folder: Path, process: int) -> WrittenBatch | None:
        path = _file(folder, process)
        if not path.is_file():
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**values, "completions": [Completion(**row) for row in values["completions"]]})


def _file(folder: Path, process: int) -> Path:
    return folder / f"next-batch-{process}.json"


class InBackground:
    """A batch that a thread is writing; the thread ends with the process, so a stop need not wait for it."""

    def __init__(self, write: Callable[[], WrittenBatch]) -> None:
        self.waited_s = 0.0
        """Seconds the trainer stood still for this batch."""
        self._future: Future[WrittenBatch] = Future()

        def work() -> None:
            try:
                self._future.set_result(write())
            except BaseException as error:  # told to the trainer, which asks for the result
                self._future.set_exception(error)

        threading.Thread(target=work, name="rollouts-ahead", daemon=True).start()

    @classmethod
    def done(cls, batch: WrittenBatch) -> InBackground:
        return cls(lambda: batch)

    def wait(self) -> WrittenBatch:
        """The batch, when it is there. Raises what the writing raised."""
        started = time.monotonic()
        try:
            return self._future.result()
        finally:
            self.waited_s += time.monotonic() - started

    def result_within(self, seconds: float) -> WrittenBatch | None:
        """The batch if it is there in time and went well; what went wrong is told when it is asked for in earnest."""
        try:
            return self._future.result(timeout=seconds)
        except Exception:  # "not yet" among them
            return None
