"""What goes along with a training and is not the trainer's own, e.g. who judges rollouts, who watches the student."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Companion:
    """Told of a training's steps; what it gathers goes into resume points, metrics and the record.

    A workflow's parts derive from it and say what concerns them; a trainer carries them as `companions`.
    """

    logs: tuple[str, ...] = ()
    """Names that it logs through the trainer and that rows of metrics keep."""

    def look(self, step: int) -> bool:
        """After each optimizer step, on every process; True ends the training there."""
        return False

    def measured(self, step: int) -> dict[str, float]:
        """What it found at this step, for its row of metrics."""
        return {}

    def state(self) -> dict[str, Any]:
        """What a resume point keeps of it, as JSON. Companions share one object, so names must not meet."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a resume point; of an older one a name may be missing."""

    def result(self) -> dict[str, Any]:
        """For the record."""
        return {}

    def save(self, output: Path) -> None:
        """Files beside the weights that are published."""
