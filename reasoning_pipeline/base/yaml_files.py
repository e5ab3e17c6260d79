"""Reading YAML that people write: safely, each key once, with `extends:`, and values changed from a command line."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from reasoning_pipeline.base.validation import no_file, suggestion
from reasoning_pipeline.errors import RecipeError


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping, safely loaded. Raises RecipeError with line and column where it is not YAML."""
    try:
        text = path.read_text(encoding="utf-8")
        try:
            values = yaml.load(text, Loader=_FastLoader)
        except (yaml.YAMLError, RecursionError):  # the slower one's words for it are the clearer
            values = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(str(path), [_yaml_problem(error)]) from error
    if not isinstance(values, dict):
        raise RecipeError(str(path), [f"expected a mapping at the top, found {type(values).__name__}"])
    return values


def _yaml_problem(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "not valid YAML here: it is nested too deeply"
    mark = getattr(error, "problem_mark", None)
    if not isinstance(error, yaml.MarkedYAMLError) or mark is None:
        return f"not valid YAML: {' '.join(str(error).split())}"
    reason = ", ".join(part for part in (error.context, error.problem) if part)
    return f"line {mark.line + 1}, column {mark.column + 1}: not valid YAML: {reason}"


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice, reads 1e-6 as a number and leaves dates as text."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *anchor`; what stands beside it wins
            continue
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            problem = "a key must be a word (text that begins with a brace or bracket needs quotes)"
            raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", key_node.start_mark)
        seen.add(key)
    return yaml.constructor.SafeConstructor.construct_mapping(loader, node, deep=True)


class _FastLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The same over libyaml, where PyYAML has it: a tenth of the time."""


for _loader in (_Loader, _FastLoader):
    _loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
    # YAML 1.1 reads 1e-6 as text (it wants a dot and a signed exponent); people write learning rates that way.
    _loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d[\d_]*(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
    )
    _loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in _loader.yaml_implicit_resolvers.items()
    }


def read_with_parents(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A YAML mapping over the one it names in `extends:`, and so on. Raises RecipeError."""
    values = read_yaml(path)
    parent_name = values.pop("extends", None)
    if parent_name is None:
        return values
    parent = (path.parent / str(parent_name)).resolve()
    if parent in (*seen, path.resolve()):
        raise RecipeError(str(path), [f"extends: {parent_name!r} extends this recipe in turn"])
    if not parent.is_file():
        said = no_file(str(parent_name), parent, start="this file's folder")
        raise RecipeError(str(path), [f"extends: {said}"])
    return merged(read_with_parents(parent, (*seen, path.resolve())), values)


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`changes` over `base`, mapping by mapping; a null removes a key."""
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def apply_override(values: dict[str, Any], override: str, problems: list[str]) -> None:
    """`steps.distill.learning_rate=2e-6` into `values`; what is wrong with it is appended to `problems`."""
    name, equals, text = override.partition("=")
    keys = name.split(".")
    if not equals or not all(keys):
        problems.append(f"--set {override}: expected path.to.field=value")
        return
    try:
        value = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problems.append(f"--set {override}: {_yaml_problem(error)}")
        return
    named = {"steps": "step", "data": "data set"}.get(keys[0])
    if named and len(keys) > 2 and keys[1] not in (known := values.get(keys[0]) or {}):
        problems.append(f"--set {override}: no {named} is called {keys[1]!r}{suggestion(keys[1], known)}")
        return
    target = values
    for depth, key in enumerate(keys[:-1], start=1):
        inner = target.get(key)
        if inner is not None and not isinstance(inner, dict):
            problems.append(f"--set {override}: {'.'.join(keys[:depth])} holds a value, not fields")
            return
        # A copy: behind a YAML alias, two steps are one mapping.
        target[key] = target = dict(inner or {})
    target[keys[-1]] = value
