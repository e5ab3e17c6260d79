"""Pydantic's findings as sentences a person can act on, each with its place and, where one is close, a suggestion."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


def readable_validation(
    model: type[Model],
    values: Any,
    *,
    place: str,
    problems: list[str],
    hidden: tuple[str, ...] = (),
    known: Iterable[str] = (),
) -> Model | None:
    """Validate, appending one sentence per problem to `problems`; None where there was any.

    Args:
        hidden: Fields that nobody writes, and no suggestion names.
        known: Keys besides the model's own that a mistyped one may have meant.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        for item in error.errors():
            location = [str(part) for part in item["loc"] if part != "__root__"]
            where = ".".join(([place] if place else []) + location) or "recipe"
            if item["type"] == "extra_forbidden":
                names = [name for name in _fields_at(model, location[:-1]) if name not in hidden]
                names += known if len(location) == 1 else ()
                problems.append(f"{where}: unknown key{suggestion(location[-1], names)}")
            elif item["type"] == "missing":
                problems.append(f"{where}: missing")
            else:
                message = item["msg"].removeprefix("Value error, ")
                given = item.get("input")
                shown = "" if isinstance(given, dict | BaseModel) else f" (got {given!r})"
                # Of a value that is one of few, pydantic names those: 'grpo', 'dapo' or 'bnpo'.
                few = re.findall(r"'([^']+)'", message) if item["type"] == "literal_error" else ()
                problems.append(f"{where}: {message[0].lower()}{message[1:]}{shown}{suggestion(str(given), few)}")
        return None


def _fields_at(model: type[BaseModel], location: list[str]) -> list[str]:
    for part in location:
        field = model.model_fields.get(part)
        annotation = field.annotation if field else None
        inner = [a for a in (annotation, *getattr(annotation, "__args__", ())) if isinstance(a, type)]
        nested = next((a for a in inner if issubclass(a, BaseModel)), None)
        if nested is not None:
            model = nested
    return list(model.model_fields)


def texts(value: Any) -> list[str]:
    """The texts in what should have been a text or several."""
    several = [value] if isinstance(value, str) else value if isinstance(value, list | dict) else []
    return [item for item in several if isinstance(item, str)]


def suggestion(word: str, known: Iterable[str], *, prefix: str = "") -> str:
    """`; did you mean "distill"?` where something close exists, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f'; did you mean "{prefix}{close[0]}"?' if close else ""


def suggested_file(path: Path) -> str:
    """The same for a file that is not there: the one beside it, or in a folder of nearly that name, that is closest."""
    folder = path.parent
    if not folder.is_dir() and folder.parent.is_dir():
        near = [other.name for other in folder.parent.iterdir() if other.is_dir()]
        folder = folder.with_name((difflib.get_close_matches(folder.name, near, n=1) or [folder.name])[0])
    try:
        names = [other.name for other in folder.iterdir()]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, n=1)
    return f'; did you mean "{folder / close[0]}"?' if close else ""


def no_file(named: str, path: Path, *, start: str = "the recipe's folder") -> str:
    """`no file 'own.jsnl' (a relative path starts at …); did you mean …`, of a file that is `path` as it was read."""
    return f"no file {named!r} (a relative path starts at {start}){suggested_file(path)}"
