"""Stable identities: canonical JSON, hashed. What has no stable form is refused rather than guessed."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

THREADS = min(8, 2 * (os.cpu_count() or 1))
"""Files looked at side by side; hashing lets go of Python's lock, and a sync only waits."""

_PLAIN = (str, bool, int)  # a tuple: `str | bool | int` would be made anew for each of a data set's values

Item = TypeVar("Item")
Result = TypeVar("Result")


def canonical(value: Any) -> Any:
    """A form of `value` that has exactly one JSON text. Raises TypeError for anything without one."""
    if value is None or isinstance(value, _PLAIN):  # first: nearly all that there is
        return value
    if isinstance(value, BaseModel):
        return canonical(value.model_dump(mode="python"))
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a fingerprint needs text keys")
        return {key: canonical(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [item if type(item) is str else canonical(item) for item in value]  # rows of a data set are texts
    if isinstance(value, Fraction):
        return str(value)
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
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seed_from(text: str) -> int:
    """48 bits that depend on this text alone: not on the order, the batch, or what is on disk."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16)


def in_threads(action: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """`action` of every item, several at once, results in order. The first exception is raised when all are done."""
    from concurrent.futures import ThreadPoolExecutor  # with logging, half of what `--help` takes

    with ThreadPoolExecutor(THREADS, thread_name_prefix="files") as pool:
        return list(pool.map(action, items))
