"""The registry: a folder of artifacts. Publishing writes aside, syncs, renames, and the record makes it real.

    ROOT/registry/sparse_grpo-3f2a9c1b7d04e6f8/
        model.safetensors  config.json  tokenizer.json  metrics.jsonl  …
        record.json            written last; an artifact without one does not exist

Plain files and atomic renames only, so that it works on a shared cluster file system without a server.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from reasoning_pipeline.errors import RegistryError
from reasoning_pipeline.registry.fingerprint import digest, file_digest
from reasoning_pipeline.registry.record import SCHEMA, FileEntry, Record

RECORD = "record.json"
FINGERPRINT_CHARACTERS = 16


@dataclass(frozen=True)
class Artifact:
    """A published folder and its record."""

    folder: Path
    record: Record

    @property
    def name(self) -> str:
        return self.folder.name


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
        artifact = Artifact(folder, read_record(folder))
        if artifact.record.fingerprint != fingerprint:
            raise RegistryError(
                f"{folder.name}/{RECORD}: holds fingerprint {artifact.record.fingerprint[:16]}…, "
                f"expected {fingerprint[:16]}…",
                remedy="the record was edited or the folder renamed; move the folder away and run the step again",
            )
        return artifact

    def artifacts(self) -> Iterator[Artifact]:
        """Every published artifact, oldest first."""
        if not self.folder.is_dir():
            return
        found = [Artifact(f.parent, read_record(f.parent)) for f in self.folder.glob(f"*/{RECORD}")]
        yield from sorted(found, key=lambda artifact: (artifact.record.created, artifact.name))

    def publish(self, source: Path, record: Record) -> Artifact:
        """Make the files in `source` an artifact. `source` is consumed; `record.files` is filled in here.

        Publishing what is already there is harmless: the older artifact stays and `source` is dropped.

        Raises:
            RegistryError: No space, no permission; says where. `source` is kept then.
        """
        final = self.folder / self.artifact_name(record.stage, record.fingerprint)
        if (existing := self.find(record.stage, record.fingerprint)) is not None:
            shutil.rmtree(source)
            return existing
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            files = {}
            for path in sorted(path for path in source.rglob("*") if path.is_file() and path.name != RECORD):
                path.chmod(0o666 & ~_umask())  # some libraries write theirs for the owner alone
                _sync(path)
                files[path.relative_to(source).as_posix()] = FileEntry(
                    bytes=path.stat().st_size, sha256=file_digest(path)
                )
            record = record.model_copy(update={"files": files})
            write_json(source / RECORD, record.model_dump(mode="json"))
            _sync(source)
            if not _rename(source, final):
                if (existing := self.find(record.stage, record.fingerprint)) is not None:  # another run was faster
                    shutil.rmtree(source)
                    return existing
                shutil.rmtree(final)  # without a record it is no artifact
                source.rename(final)
            _sync(self.folder)
        except OSError as error:
            raise RegistryError(_storage_message(error, final.name), remedy=_storage_remedy(error)) from error
        return Artifact(final, record)

    def verify(self, artifact: Artifact) -> list[str]:
        """Re-hash every file; one sentence per difference, empty when all is well.

        Of the record itself it checks that the identity is the one its fingerprint was computed from and its folder
        is named after; figures in `result` are not covered by any hash.
        """
        problems = []
        record = artifact.record
        if digest(record.identity) != record.fingerprint:
            problems.append(f"{artifact.name}/{RECORD}: its identity does not give its fingerprint; it was edited")
        elif (expected := self.artifact_name(record.stage, record.fingerprint)) != artifact.name:
            problems.append(f"{artifact.name}/{RECORD}: belongs to {expected}")
        for name, entry in artifact.record.files.items():
            path = artifact.folder / name
            if not path.is_file():
                problems.append(f"{artifact.name}/{name}: missing")
            elif path.stat().st_size != entry.bytes:
                problems.append(f"{artifact.name}/{name}: {path.stat().st_size:,} bytes, expected {entry.bytes:,}")
            elif file_digest(path) != entry.sha256:
                problems.append(f"{artifact.name}/{name}: content differs from its record")
        return problems


def read_record(folder: Path) -> Record:
    """The record of a published folder. Raises RegistryError where it cannot be trusted."""
    path = folder / RECORD
    place = f"{folder.name}/{RECORD}"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        remedy = "move the folder away and run again"
        raise RegistryError(f"{place}: cannot be read ({error})", remedy=remedy) from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > SCHEMA:
        raise RegistryError(
            f"{place}: written by a newer version (schema {version}, this one reads up to {SCHEMA})",
            remedy="update reasoning-pipeline",
        )
    try:
        return Record.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise RegistryError(
            f"{place}: {'.'.join(map(str, first['loc']))}: {first['msg']}",
            remedy="the record was edited or damaged; move the folder away and run the step again",
        ) from error


def write_json(path: Path, value: object) -> None:
    """Write aside, sync, rename: a reader sees the old file or the new one, never half of it."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            json.dump(value, file, indent=2, ensure_ascii=False, allow_nan=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _rename(source: Path, final: Path) -> bool:
    """False where something stands at `final`."""
    try:
        source.rename(final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _umask() -> int:
    """Can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _storage_message(error: OSError, name: str) -> str:
    what = {
        errno.ENOSPC: "no space left",
        errno.EDQUOT: "the disk quota is used up",
        errno.EROFS: "the registry is read-only",
        errno.EACCES: "permission denied",
    }
    return f"{name}: could not be published: {what.get(error.errno or 0, str(error))}"


def _storage_remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free space and run again; finished training is kept in the work folder and is published then"
    return "make the folder writable and run again; finished training is kept in the work folder"
