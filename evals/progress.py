"""How far an evaluation is, as every step of a plan tells it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .samples import Sample


@dataclass(frozen=True, kw_only=True)
class SoFar:
    """How far an evaluation is: handed to `evaluate`'s `progress` after each stored sample, on the judging thread.

    Example:
        SoFar(done=120, total=960, found=96, right=11, truncated=4, tokens=190_412, seconds=61.0)
    """

    done: int
    """Samples on disk, over all suites of this call."""
    total: int
    found: int
    """Of `done`, those that were there from an earlier run; they say nothing about this one."""
    right: int = 0
    truncated: int = 0
    tokens: int = 0
    """Written by this run, as what stands above."""
    seconds: float = 0.0

    def and_one(self, sample: Sample, profile: str, seconds: float) -> SoFar:
        return replace(
            self,
            done=self.done + 1,
            right=self.right + (sample.judged(profile).status == "correct"),
            truncated=self.truncated + (sample.finish == "length"),
            tokens=self.tokens + sample.tokens,
            seconds=seconds,
        )

    def as_json(self) -> dict[str, Any]:
        """As every step tells how far it is. Long answers finish last: early on, the time left is too hopeful."""
        made = self.done - self.found
        return {
            "step": self.done,
            "total_steps": self.total,
            "accuracy": self.right / max(made, 1),
            "truncated": self.truncated / max(made, 1),
            "tokens_per_s": self.tokens / max(self.seconds, 1e-9),
            "seconds_left": self.seconds / made * (self.total - self.done) if made else None,
        }
