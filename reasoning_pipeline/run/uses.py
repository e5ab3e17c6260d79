"""What can be done with a checkpoint that is no language model: its workflow scores it and serves it in its own way.

A workflow's `in_use.py` lists its uses. `python -m evals` and `serve` ask here before they take a checkpoint for one
that a rollout server can load.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.recipe.workflows import contributed

if TYPE_CHECKING:
    from reasoning_pipeline.registry.resolve import ResolvedModel


class Use:
    kind: ClassVar[str] = "checkpoint"
    """What its stage publishes."""
    suite: ClassVar[str] = ""
    """What `python -m evals NAME --suite` calls its scoring."""
    options: ClassVar[tuple[str, ...]] = ()
    """Further options of `python -m evals`, which its `evaluate` takes by these names: `data` (a file), `limit` (a
    number), `recipe` (a file). Every other one is refused."""

    def knows(self, folder: Path) -> bool:
        """Whether the checkpoint in this folder is of its kind. Reads no weights."""
        return False

    def evaluate(self, model: ResolvedModel, out: Path, *, profile: HardwareProfile, seed: int) -> str:
        """Score it, leave the figures in `out`, and say them in a few lines."""
        raise NotImplementedError

    def serve(self, model: ResolvedModel, *, profile: HardwareProfile, host: str, port: int | None, key: str) -> None:
        """Answer requests with this key until the process is interrupted."""
        raise NotImplementedError


def uses() -> tuple[Use, ...]:
    return contributed("in_use")


def kinds() -> tuple[str, ...]:
    """Kinds of artifacts that a person may name to have them scored or served."""
    return tuple(dict.fromkeys(["checkpoint", *(use.kind for use in uses())]))


def use_of(folder: Path) -> Use | None:
    """Of the checkpoint in this folder; None for a language model."""
    return next((use for use in uses() if use.knows(folder)), None)
