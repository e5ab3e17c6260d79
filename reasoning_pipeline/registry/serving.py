"""How artifacts that are no models are served and scored: what a workflow lists in its `in_serving.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from reasoning_pipeline.errors import RegistryError
from reasoning_pipeline.recipe.workflows import contributed
from reasoning_pipeline.registry.resolve import fits
from reasoning_pipeline.registry.store import Artifact, Registry


class Served:
    """One kind of artifact that answers."""

    kind: ClassVar[str]
    """As its stage publishes it."""
    suites: ClassVar[tuple[str, ...]] = ()
    """What `python -m evals` scores it on."""

    def serve(self, artifact: Artifact, profile: Any, root: Path, *, host: str, port: int, key: str) -> None:
        """Answer OpenAI's chat requests until KeyboardInterrupt; port 0 is a free one."""
        raise NotImplementedError

    def evaluate(self, artifact: Artifact, profile: Any, out: Path, *, limit: int | None, seed: int) -> str:
        """Write an evaluation below `out`; the line that says what was found."""
        raise NotImplementedError


def served(reference: str, root: Path) -> tuple[Artifact, Served] | None:
    """The artifact that a person means and who serves it; None where the reference names nothing of the kind.

    Raises RegistryError where it fits several.
    """
    kinds: dict[str, Served] = {one.kind: one for one in contributed("in_serving")}
    found = [a for a in Registry(root).artifacts() if a.record.kind in kinds and fits(a, reference)]
    if len(found) > 1:
        names = ", ".join(artifact.name for artifact in found)
        raise RegistryError(f"{reference!r} fits {len(found)} artifacts: {names}", remedy="name one of them")
    return (found[0], kinds[found[0].record.kind]) if found else None
