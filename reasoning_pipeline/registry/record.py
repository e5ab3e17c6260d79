"""The record of an artifact: written last, beside what it describes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

SCHEMA = 1


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


class SpendEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    step: str
    pool: str
    labels: int
    replay: bool = False


class Record(BaseModel):
    """How an artifact came about. Holds no absolute path, no user name and no secret: a registry can be moved.

    Example:
        {"schema_version": 1, "kind": "checkpoint", "stage": "sparse_grpo", "step": "teacher_rl",
         "fingerprint": "3f2a…", "config": {…}, "inputs": {"policy": {"reference": "step:teacher_base", …}},
         "label_spend": [{"step": "teacher_rl", "pool": "first", "labels": 768}], "result": {"reward": 0.93}, …}
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA
    kind: Literal["checkpoint", "rollouts", "evaluation"]
    stage: str
    step: str
    recipe: str
    fingerprint: str
    config: dict[str, Any]
    identity: dict[str, Any]
    """What the fingerprint was computed from."""
    inputs: dict[str, InputEntry] = {}
    label_spend: list[SpendEntry] = []
    """Labels spent by the whole lineage, oldest first."""
    prompt: dict[str, Any] = {}
    result: dict[str, Any] = {}
    """Figures the step reports, e.g. its last reward; plain JSON."""
    provenance: dict[str, Any] = {}
    created: str
    files: dict[str, FileEntry]


def now() -> str:
    """UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
