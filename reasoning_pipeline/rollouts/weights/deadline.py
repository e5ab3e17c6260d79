"""A transfer that ends, whatever its peers do. Used on both sides of a push over NCCL; no torch.

A collective call waits for its peers for ever: of one that was killed or frozen nobody tells it. The only way out is to
abort the communicator from another thread, and NCCL's abort may itself block (it synchronises streams and other ranks).
So there are two ends: the abort, after which the call returns or raises; and, where it does not return in time, the end
of the process, which the runner answers as it answers any lost server.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

GRACE_S = 30.0
"""How long an aborted call may take to return."""


class TransferStalled(Exception):
    """The transfer was aborted; says why."""


class Watch:
    """Watches a block of blocking calls; its end raises TransferStalled where it had to abort them.

    Args:
        limit_s: Longest time without a sign of life (`moved`).
        abort: Makes the blocking call return. Called once, in a thread of its own.
        leave: Ends this process; called where the block is still not over `grace_s` after the abort.
    """

    def __init__(
        self, limit_s: float, *, abort: Callable[[], None], leave: Callable[[str], None], grace_s: float = GRACE_S
    ) -> None:
        self.limit_s, self.grace_s = limit_s, grace_s
        self._abort, self._leave = abort, leave
        self._changed = threading.Condition()
        self._until = math.inf
        self._why: str | None = None
        self._over = False

    def moved(self) -> None:
        """A part has arrived: the time begins anew."""
        self._until = time.monotonic() + self.limit_s

    def cancel(self, why: str) -> None:
        """Abort now: a peer is known to be gone. Of several reasons the first counts."""
        with self._changed:
            self._why = self._why or why
            self._changed.notify_all()

    def __enter__(self) -> Self:
        self.moved()
        threading.Thread(target=self._watch, name="transfer-deadline", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()
        if self._why is not None and (error is None or isinstance(error, Exception)):
            raise TransferStalled(self._why) from error

    def _watch(self) -> None:
        with self._changed:
            while not self._over and self._why is None:
                left = self._until - time.monotonic()
                if left <= 0:
                    self._why = f"nothing has moved for {self.limit_s:.0f} s"
                else:
                    self._changed.wait(left)
            if self._over:
                return
        threading.Thread(target=self._abort, name="transfer-abort", daemon=True).start()
        with self._changed:
            returned = self._changed.wait_for(lambda: self._over, self.grace_s)
        if not returned:
            self._leave(f"{self._why}, and the transfer does not return {self.grace_s:.0f} s after it was aborted")
