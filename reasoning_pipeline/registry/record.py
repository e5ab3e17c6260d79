"""The record of an artifact: written last, beside what it describes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from reasoning_pipeline.base.fingerprint import digest
from reasoning_pipeline.errors import RegistryError
from reasoning_pipeline.records import ARTIFACT_KIND

RECORD = "record.json"

IMPORTED = "imported"
"""The stage of checkpoints that a person brought in; `gc` never removes them."""

SCHEMA = 2
"""2 added `record_digest`. Records of schema 1 are read as they are."""

MOST_BYTES = 16 << 20
"""A record is some kilobytes; what is larger is none, and is not read into memory."""


class FileEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: int
    sha256: str


class InputEntry(BaseModel):
    """One input: another artifact of this registry, or a model from outside (`reference` then says which)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reference: str
    fingerprint: str
    artifact: str | None = None


@dataclass(frozen=True)
class Spend:
    """What one step took from one pool: its labels, or its questions alone.

    Example:
        Spend(step="teacher_rl", pool="first", labels=768, pool_digest="0f3a…")
        Spend(step="distill", pool="first", labels=0, prompts=768, pool_digest="0f3a…")
    """

    __pydantic_config__ = ConfigDict(extra="forbid")  # of a record that is read

    step: str
    pool: str
    labels: int
    """Checked answers used; 0 where only the questions were read."""
    replay: bool = False
    """Meant to be spent again: a control."""
    prompts: int = 0
    """Questions read without their answers (warmup, distillation); 0 where labels were spent."""
    measured: int = 0
    """Answers that something was scored with (C1); nothing learned from them."""
    pool_digest: str = ""
    """Which problems these are; pools of two recipes with one name need not be one pool. Empty in older records."""


def distinct_labels(spends: Iterable[Spend]) -> int:
    """Labels bought: a pool counts once, however often it is replayed."""
    return sum({(spend.pool_digest or spend.pool): spend.labels for spend in spends if spend.labels}.values())


class Record(BaseModel):
    """How an artifact came about. Holds no absolute path, no user name and no secret: a registry can be moved.

    Example:
        {"schema_version": 2, "kind": "checkpoint", "stage": "sparse_grpo", "step": "teacher_rl",
         "fingerprint": "3f2a…", "config": {…}, "inputs": {"policy": {"reference": "step:teacher_base", …}},
         "label_spend": [{"step": "teacher_rl", "pool": "first", "labels": 768}], "result": {"reward": 0.93}, …}
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA
    kind: str = Field(pattern=f"^{ARTIFACT_KIND}$")
    """What was published (`StageConfig.publishes`)."""
    stage: str
    step: str
    recipe: str
    fingerprint: str
    config: dict[str, Any]
    identity: dict[str, Any]
    """What the fingerprint was computed from."""
    inputs: dict[str, InputEntry] = {}
    label_spend: list[Spend] = []
    """Labels spent by the whole lineage, oldest first."""
    prompt: dict[str, Any] = {}
    result: dict[str, Any] = {}
    """Figures the step reports, e.g. its last reward; plain JSON."""
    provenance: dict[str, Any] = {}
    created: str
    files: dict[str, FileEntry]
    record_digest: str = ""
    """sha256 of all the rest of the record, so that an edited figure is noticed; empty in schema 1."""

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for name in files:
            path = PurePosixPath(name)
            if not name or path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{name!r} is outside the artifact's folder")
        return files

    def sealed(self) -> Record:
        """The same record with its own digest, over its JSON form (NaN has no place in JSON and becomes null)."""
        values = self.model_dump(mode="json", exclude={"record_digest"}) | {"schema_version": SCHEMA}
        return Record.model_validate(values | {"record_digest": digest(values)})


def now() -> str:
    """UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_record(folder: Path) -> Record:
    """The record of a published folder. Raises RegistryError where it cannot be understood."""
    path = folder / RECORD
    place = f"{folder.name}/{RECORD}"
    values = read_values(path, place)
    try:
        return Record.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise RegistryError(
            f"{place}: {'.'.join(map(str, first['loc']))}: {first['msg']}",
            remedy="the record was edited or damaged; move the folder away and run the step again",
        ) from error


def require_unedited(folder: Path) -> None:
    """Raises RegistryError where the record is not what was published, so that nothing is built on it."""
    if edited(folder):
        raise RegistryError(
            f"{folder.name}/{RECORD}: its own digest differs; it was edited by hand",
            remedy="put the original back, or move the folder away and run the step again",
        )


def edited(folder: Path) -> bool:
    """Whether a record is not what was published. Records of schema 1 cannot tell."""
    values = read_values(folder / RECORD, f"{folder.name}/{RECORD}")
    if values.get("schema_version") == 1:
        return False
    stated = values.pop("record_digest", None)
    try:
        return digest(values) != stated
    except TypeError:  # NaN: Python's reader takes it, and nothing of ours writes it
        return True


def read_values(path: Path, place: str) -> dict[str, Any]:
    """The plain JSON object of a record, from bounded memory. Raises RegistryError."""
    remedy = "move the folder away and run again"
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise RegistryError(f"{place}: larger than {MOST_BYTES >> 20} MiB, which no record is", remedy=remedy)
        values = json.loads(content)
    except PermissionError as error:
        remedy = "ask its owner to make it readable (docs/registry.md: one registry for several people)"
        raise RegistryError(f"{place}: may not be read by you (permission denied)", remedy=remedy) from error
    except (OSError, ValueError, RecursionError) as error:
        raise RegistryError(f"{place}: cannot be read ({error})", remedy=remedy) from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > SCHEMA:
        raise RegistryError(
            f"{place}: written by a newer version (schema {version}, this one reads up to {SCHEMA})",
            remedy="update reasoning-pipeline",
        )
    if not isinstance(values, dict):
        raise RegistryError(f"{place}: should be a valid dictionary, found {type(values).__name__}", remedy=remedy)
    return values
