"""The registry: a folder of artifacts. Publishing writes aside, syncs, renames, and the record makes it real.

    ROOT/registry/sparse_grpo-3f2a9c1b7d04e6f8/
        model.safetensors  config.json  tokenizer.json  metrics.jsonl  …
        record.json            written last; an artifact without one does not exist
    ROOT/registry/removed/     the records of artifacts that `gc` removed: lineages that name them stay readable

Plain files and atomic renames only, so that it works on a shared cluster file system without a server.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.files import (
    contents,
    rename_folder,
    storage_message,
    storage_remedy,
    sync,
    umask,
    write_json,
)
from reasoning_pipeline.base.fingerprint import digest, file_digest, in_threads
from reasoning_pipeline.errors import RegistryError
from reasoning_pipeline.registry.record import (
    RECORD,
    FileEntry,
    Record,
    edited,
    read_record,
    read_values,
    require_unedited,
)

__all__ = ["RECORD", "Artifact", "Registry", "read_record", "write_json"]

FINGERPRINT_CHARACTERS = 16
REMOVED = "removed"


@dataclass(frozen=True)
class Artifact:
    """A published folder and its record."""

    folder: Path
    record: Record

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def bytes(self) -> int:
        """Of its files, as recorded."""
        return sum(entry.bytes for entry in self.record.files.values())


class Registry:
    """Artifacts below `root/registry`."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.folder = self.root / "registry"

    @staticmethod
    def artifact_name(stage: str, fingerprint: str) -> str:
        return f"{stage}-{fingerprint[:FINGERPRINT_CHARACTERS]}"

    def find(self, stage: str, fingerprint: str) -> Artifact | None:
        """The published artifact with this identity, or None. Reads the record, not the files."""
        folder = self.folder / self.artifact_name(stage, fingerprint)
        if not (folder / RECORD).is_file():
            return None
        record = read_record(folder)
        if record.fingerprint != fingerprint:
            raise RegistryError(
                f"{folder.name}/{RECORD}: holds fingerprint {record.fingerprint[:16]}…, expected {fingerprint[:16]}…",
                remedy="the record was edited or the folder renamed; move the folder away and run the step again",
            )
        require_unedited(folder)
        return Artifact(folder, record)

    def get(self, name: str) -> Artifact | None:
        """The published artifact in the folder of this name, or None."""
        folder = self.folder / name
        return Artifact(folder, read_record(folder)) if (folder / RECORD).is_file() else None

    def folders(self) -> list[Path]:
        """The folders of all artifacts, by name; their records are not read."""
        if not self.folder.is_dir():
            return []
        return sorted(f.parent for f in self.folder.glob(f"*/{RECORD}") if not f.parent.name.startswith("."))

    def artifacts(self, damaged: list[str] | None = None) -> Iterator[Artifact]:
        """Every published artifact, oldest first.

        Args:
            damaged: Takes a sentence for each record that cannot be read; without it the first one is an error.
        """
        found = []
        for folder in self.folders():
            try:
                found.append(Artifact(folder, read_record(folder)))
            except RegistryError as error:
                if damaged is None:
                    raise
                damaged.append(str(error))
        yield from sorted(found, key=lambda artifact: (artifact.record.created, artifact.name))

    def removed(self, name: str) -> dict[str, Any] | None:
        """The record (plain JSON) of an artifact that `gc` removed, or None."""
        path = self.folder / REMOVED / f"{name}.json"
        return read_values(path, f"{REMOVED}/{path.name}") if path.is_file() else None

    def publish(self, source: Path, record: Record) -> Artifact:
        """Make the files in `source` an artifact. `source` is consumed; `record.files` is filled in here.

        Publishing what is already there is harmless: the older artifact stays and `source` is dropped.

        Raises:
            RegistryError: No space, no permission, a link among the files; says where. `source` is kept then.
        """
        final = self.folder / self.artifact_name(record.stage, record.fingerprint)
        if (existing := self.find(record.stage, record.fingerprint)) is not None:
            shutil.rmtree(source)
            return existing
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            record = record.model_copy(update={"files": _entries(source)}).sealed()
            write_json(source / RECORD, record.model_dump(mode="json"))
            sync(source)
            if not rename_folder(source, final):
                if (existing := self.find(record.stage, record.fingerprint)) is not None:  # another run was faster
                    shutil.rmtree(source)
                    return existing
                shutil.rmtree(final)  # without a record it is no artifact
                source.rename(final)
            sync(self.folder)
        except OSError as error:
            raise RegistryError(storage_message(error, final.name), remedy=storage_remedy(error)) from error
        return Artifact(final, record)

    def verify(self, artifact: Artifact, done: Callable[[int], object] = lambda bytes_read: None) -> list[str]:
        """Re-hash every file; one sentence per difference, empty when all is well.

        Of the record it checks that it is as published, that the identity is the one its fingerprint was computed
        from, and that its folder is named after that. `done` is told the bytes of each file that was looked at.
        """
        problems = []
        record, place = artifact.record, f"{artifact.name}/{RECORD}"
        if digest(record.identity) != record.fingerprint:
            problems.append(f"{place}: its identity does not give its fingerprint; it was edited")
        elif (expected := self.artifact_name(record.stage, record.fingerprint)) != artifact.name:
            problems.append(f"{place}: belongs to {expected}")
        elif edited(artifact.folder):
            problems.append(f"{place}: its own digest differs; it was edited by hand")

        def check(path: Path) -> str | None:
            name = path.relative_to(artifact.folder).as_posix()
            entry = record.files[name]
            found = _difference(path, entry)
            done(entry.bytes)
            return f"{artifact.name}/{name}: {found}" if found else None

        problems += filter(None, in_threads(check, [artifact.folder / name for name in sorted(record.files)]))
        for name, path in contents(artifact.folder):
            if path.is_symlink() and name not in record.files:
                problems.append(f"{artifact.name}/{name}: a link; artifacts are plain files")
            elif name not in record.files and name != RECORD and not path.name.startswith(".nfs"):
                problems.append(f"{artifact.name}/{name}: not in its record")
        return problems


def _entries(source: Path) -> dict[str, FileEntry]:
    """Sync and hash everything that is to be published. Raises RegistryError for a link."""
    named = {name: path for name, path in contents(source) if path.name != RECORD}
    for name, path in named.items():
        if path.is_symlink():
            raise RegistryError(
                f"{source.name}/{name}: a link, which would not survive a move of the registry",
                remedy="put the file itself there and run again",
            )
        path.chmod(0o666 & ~umask())  # some libraries write theirs for the owner alone
    # While the disk syncs a file the processor is free to hash it.
    tasks = [(action, path) for path in named.values() for action in (sync, file_digest)]
    digests = in_threads(lambda task: task[0](task[1]), tasks)[1::2]
    return {
        name: FileEntry(bytes=path.stat().st_size, sha256=found)
        for (name, path), found in zip(named.items(), digests, strict=True)
    }


def _difference(path: Path, entry: FileEntry) -> str | None:
    if path.is_symlink():
        return "a link; artifacts are plain files"
    if not path.is_file():
        return "missing"
    if (size := path.stat().st_size) != entry.bytes:
        return f"{size:,} bytes, expected {entry.bytes:,}"
    return None if file_digest(path) == entry.sha256 else "content differs from its record"
