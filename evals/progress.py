"""How far an evaluation is, and when it will be done."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Handed to `evaluate`'s `progress` after each stored sample.

    Example:
        Progress(suite="aime24", done=120, total=960, found=96, right=31, truncated=4, tokens=190_412, seconds=61.0)
    """

    suite: str
    """Of the sample just stored."""
    done: int
    """Samples on disk, over all suites of this call."""
    total: int
    found: int
    """Of `done`, those that were there from an earlier run; they say nothing about the speed of this one."""
    right: int
    truncated: int
    tokens: int
    """Written by this run."""
    seconds: float

    @property
    def seconds_left(self) -> float | None:
        """At the speed so far. Long answers finish last, so early on this is too hopeful."""
        made = self.done - self.found
        return self.seconds / made * (self.total - self.done) if made else None

    def line(self) -> str:
        judged = max(1, self.done - self.found)
        parts = [
            f"{self.done:,}/{self.total:,} samples",
            f"{100 * self.right / judged:.1f} % right",
            f"{100 * self.truncated / judged:.1f} % truncated",
            f"{self.tokens / max(self.seconds, 1e-9):,.0f} tokens/s",
        ]
        left = self.seconds_left
        return "  ".join([*parts, f"{clock(left)} left"] if left is not None else parts)


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class ProgressPrinter:
    """One line that renews itself on a terminal; a line every half minute in a log."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.renews = self.stream.isatty()
        self._next = 0.0
        self._width = 0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        last = progress.done >= progress.total
        if now < self._next and not last:
            return
        self._next = now + (0.2 if self.renews else 30.0)
        line = progress.line()
        if self.renews:
            self.stream.write("\r" + line.ljust(self._width) + ("\n" if last else ""))
            self._width = len(line)
        else:
            self.stream.write(line + "\n")
        self.stream.flush()
