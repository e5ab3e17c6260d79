"""Every key of a model that a person fills in, with type, default and meaning: read from the code that reads the key.

One source for `stages KIND` and the pages of docs/reference. Meanings, with units, are the strings below the fields.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from reasoning_pipeline.recipe.stage import File, Input, Measures, Prompts, Reads, Spends

_PLAIN = {int: "whole number", float: "number", str: "text", bool: "true or false", Path: "path", Any: "any"}
_MARKED = {
    Spends: "pool, or a list of pools",
    Prompts: "pool, or a list of pools",
    Measures: "pool, or a list of pools",
    Reads: "data set of the recipe",
    File: "file",
}


@dataclass(frozen=True)
class Key:
    """One key.

    Example:
        Key(name="clip_ratio", type="number > 0", default="0.2", meaning="The epsilon of the clipped surrogate; …")
    """

    name: str
    type: str
    default: str
    """`required` where there is none."""
    meaning: str


def keys(model: type[BaseModel], *, beneath: str = "") -> Iterator[Key]:
    """The keys of a model, its own before those it inherits; models within it follow their key, by dotted name."""
    meanings = meanings_of(model)
    declared = {name: place for place, cls in reversed([*enumerate(model.__mro__)]) for name in _own(cls)}
    for name in sorted(model.model_fields, key=lambda name: declared[name]):
        field = model.model_fields[name]
        if name == "stage" and field.default is not PydanticUndefined:
            continue  # the kind, under which the keys stand
        yield Key(f"{beneath}{name}", type_of(field), _default(field), meanings.get(name, ""))
        told: set[tuple[str, str]] = set()
        for inner in _models(field.annotation):
            kind = _kind(inner)
            for key in keys(inner, beneath=f"{beneath}{name}."):
                last = key.name.removeprefix(f"{beneath}{name}.")
                if kind is None:
                    yield key
                elif last != "kind" and (last, key.type) not in told:  # several have it, and it means the same in each
                    told.add((last, key.type))
                    yield replace(key, meaning=f"`{kind}`: {key.meaning}" if last in _own(inner) else key.meaning)


def _own(cls: type) -> dict[str, Any]:
    return vars(cls).get("__annotations__", {})


@cache
def meanings_of(model: type[BaseModel]) -> dict[str, str]:
    """Field -> the string that stands below it, in the class or the nearest one that it inherits the field from."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if not issubclass(cls, BaseModel) or cls is BaseModel:
            continue
        try:
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        except OSError:  # made by a call, without lines of its own
            continue
        assert isinstance(tree, ast.ClassDef)
        for statement, below in zip(tree.body, tree.body[1:], strict=False):
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found[statement.target.id] = " ".join(str(below.value.value).split())
    return found


def type_of(field: FieldInfo) -> str:
    """What may stand under a key, in words: `whole number >= 1`, `constant | linear | cosine`."""
    for mark in field.metadata:
        if isinstance(mark, Input):
            return _reference(mark)
        if (marked := _MARKED.get(type(mark))) is not None:
            return marked
    return " ".join([_type(field.annotation), *_bounds(field.metadata)])


def _reference(mark: Input) -> str:
    if mark.kind == "checkpoint":
        return "`step:NAME`, a hub name or a model folder"
    return f"`step:NAME` of a step that publishes {mark.kind}"


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        marks = [mark for mark in arguments[1:] if isinstance(mark, Input)]
        return _reference(marks[0]) if marks else " ".join([_type(arguments[0]), *_bounds(arguments[1:])])
    if origin is Literal:
        return " | ".join(str(value).lower() if isinstance(value, bool) else str(value) for value in arguments)
    if origin in (Union, types.UnionType):
        several = all(_kind(one) for one in arguments)
        return (" | " if several else " or ").join(_type(one) for one in arguments if one is not type(None))
    if origin in (tuple, list):
        return f"list of {_type(arguments[0])}" if arguments else "list"
    if origin is dict:
        return f"mapping of {_type(arguments[0])} to {_type(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _kind(annotation) or "keys of its own"
    return _PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _bounds(marks: Any) -> Iterator[str]:
    for mark in marks:
        for kind, sign in ((Ge, ">="), (Gt, ">"), (Le, "<="), (Lt, "<")):
            if isinstance(mark, kind):
                yield f"{sign} {getattr(mark, kind.__name__.lower())}"
        if isinstance(mark, MinLen):
            yield f"of at least {mark.min_length}"
        if isinstance(mark, MaxLen):
            yield f"of at most {mark.max_length}"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=False)
    if value is PydanticUndefined:
        return "required" if field.is_required() else "made anew"
    if isinstance(value, BaseModel):
        return "those below"
    if value is None:
        return "none"
    if isinstance(value, tuple) and value and all(_kind(type(one)) for one in value):
        return ", ".join(str(_kind(type(one))) for one in value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value) if isinstance(value, tuple) else value) if value != "" else "empty"


def _kind(model: Any) -> str | None:
    """The word by which one of several models is chosen: the only value of its key `kind`. None for any other."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)) or "kind" not in model.model_fields:
        return None
    words = get_args(model.model_fields["kind"].annotation)
    return str(words[0]) if len(words) == 1 else None


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Models that are written beneath a key: themselves, in a list, or as a mapping's values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
