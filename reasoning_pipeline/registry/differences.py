"""What differs between two records, field by field, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reasoning_pipeline.base.text import ABSENT, excerpt

SHORT_DIGEST = 12
DIGEST_LENGTH = 64


@dataclass(frozen=True)
class Change:
    """One field with two values.

    Example:
        Change("learning_rate", "0.001", "0.002")
        str(...) == "learning_rate 0.001 → 0.002"
    """

    field: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.field} {self.old} → {self.new}"


def differences(old: Any, new: Any, place: str = "") -> Iterator[Change]:
    """Every leaf of two plain JSON values that is not the same; a list is one leaf."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            inner = f"{place}.{key}" if place else str(key)
            yield from differences(old.get(key, _MISSING), new.get(key, _MISSING), inner)
    elif old is _MISSING and isinstance(new, dict) and new:
        yield from differences({}, new, place)
    elif new is _MISSING and isinstance(old, dict) and old:
        yield from differences(old, {}, place)
    elif old != new or isinstance(old, bool) is not isinstance(new, bool):
        yield Change(place, shown(old), shown(new))


def shown(value: Any) -> str:
    """A value as a person reads it: digests shortened, long texts cut in the middle."""
    if value is _MISSING:
        return ABSENT
    if isinstance(value, str):
        if len(value) == DIGEST_LENGTH and set(value) <= set("0123456789abcdef"):
            return value[:SHORT_DIGEST]
        text = excerpt(value.replace("\n", "\\n"), 80)
        return f'"{text}"' if text == "" or " " in text else text
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return str(value)


class _Missing:
    """Stands where one side has no such field; None is a value."""


_MISSING = _Missing()
