"""What no kept result needs, and how it is removed: `gc`.

Kept are the artifacts of the given recipes' steps, everything that those came from, what was imported, and what is
named. Of a removed artifact the record stays (ROOT/registry/removed/), so that lineages and label spends remain known.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from reasoning_pipeline.base.files import size_of, storage_message, storage_remedy, sync, write_json
from reasoning_pipeline.base.locks import LOCK, held_elsewhere
from reasoning_pipeline.errors import RegistryError
from reasoning_pipeline.registry.record import IMPORTED, RECORD
from reasoning_pipeline.registry.store import REMOVED, Artifact, Registry

LEFT_SECONDS = 24 * 3600.0
"""What a dead run left in ROOT is rubbish once it is older than this."""

REMOVING = ".removing-"


@dataclass(frozen=True)
class Removable:
    """A folder that nothing kept needs."""

    folder: Path
    bytes: int
    why: str
    artifact: Artifact | None
    """None where it is what a run or a removal left behind."""


def unneeded(registry: Registry, kept: Iterable[str]) -> list[Removable]:
    """Everything that goes when these artifacts stay, oldest first, leftovers last.

    Args:
        kept: Names of artifacts that are results, published or not. What they came from stays too.
    """
    artifacts = {artifact.name: artifact for artifact in registry.artifacts()}
    wanted = _with_ancestors([*kept, *(n for n, a in artifacts.items() if a.record.stage == IMPORTED)], artifacts)
    found = [
        Removable(artifact.folder, artifact.bytes, f"{artifact.record.recipe}/{artifact.record.step}", artifact)
        for name, artifact in artifacts.items()
        if name not in wanted
    ]
    return [*found, *_leftovers(registry)]


def at_work(registry: Registry) -> Iterator[str]:
    """Who is running in this root: a sentence each."""
    for path in (*registry.root.glob(f"*/{LOCK}"), *registry.root.glob("work/*.lock")):
        if (holder := held_elsewhere(path)) is not None:
            yield f"{path.parent.name}/{path.name}: {holder}"


def remove(registry: Registry, items: Iterable[Removable]) -> None:
    """Remove folders, records of artifacts kept. An artifact is there whole or, by one rename, not at all.

    Raises:
        RegistryError: The storage refuses; what is removed by then stays removed.
    """
    for item in items:
        try:
            _remove(registry, item)
        except OSError as error:
            message = storage_message(error, item.folder.name, "removed")
            raise RegistryError(message, remedy=storage_remedy(error, "nothing is left half removed")) from error


def _remove(registry: Registry, item: Removable) -> None:
    if item.artifact is None:
        shutil.rmtree(item.folder)
        return
    kept = registry.folder / REMOVED
    kept.mkdir(exist_ok=True)
    write_json(kept / f"{item.artifact.name}.json", item.artifact.record.model_dump(mode="json"))
    aside = registry.folder / f"{REMOVING}{uuid.uuid4().hex[:8]}"
    item.folder.rename(aside)  # from here on it does not exist; what follows may be interrupted
    sync(registry.folder)
    shutil.rmtree(aside)


def _with_ancestors(names: Iterable[str], artifacts: dict[str, Artifact]) -> set[str]:
    wanted: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name in wanted:
            continue
        wanted.add(name)
        if name in artifacts:
            left += [entry.artifact for entry in artifacts[name].record.inputs.values() if entry.artifact]
    return wanted


def _leftovers(registry: Registry) -> Iterator[Removable]:
    """Folders without a record, removals that were interrupted, work folders whose step is complete."""
    for folder in _folders(registry.folder):
        if folder.name.startswith(REMOVING):
            yield Removable(folder, size_of(folder), "a removal that was interrupted", None)
        elif folder.name != REMOVED and not (folder / RECORD).is_file() and _old(folder):
            yield Removable(folder, size_of(folder), "no artifact: it has no record", None)
    for folder in _folders(registry.root / "work"):
        done = (registry.folder / folder.name / RECORD).is_file()
        if done and _old(folder) and held_elsewhere(folder.with_name(f"{folder.name}.lock")) is None:
            yield Removable(folder, size_of(folder), "work of a step that is complete", None)


def _folders(parent: Path) -> list[Path]:
    return (
        sorted(path for path in parent.iterdir() if path.is_dir() and not path.is_symlink()) if parent.is_dir() else []
    )


def _old(folder: Path) -> bool:
    return time.time() - folder.stat().st_mtime > LEFT_SECONDS
