"""Stable identities: canonical JSON, hashed. What has no stable form is refused rather than guessed."""

from __future__ import annotations

import hashlib
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import BaseModel

CHUNK_BYTES = 1 << 20


def canonical(value: Any) -> Any:
    """A form of `value` that has exactly one JSON text. Raises TypeError for anything without one."""
    if isinstance(value, BaseModel):
        return canonical(value.model_dump(mode="python"))
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a fingerprint needs text keys")
        return {key: canonical(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, Fraction):
        return str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError("a fingerprint cannot hold NaN or infinity")
        return value
    raise TypeError(f"{type(value).__name__} has no stable form for a fingerprint")


def digest(value: Any) -> str:
    """sha256 (hex) of the canonical JSON."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()
