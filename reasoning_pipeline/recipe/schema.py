"""A JSON schema of what a person writes, for editors: keys are completed, explained and checked while they are typed.

From the same models that read the files. It checks each key by itself; what must hold between keys, a plan says.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from reasoning_pipeline.data.config import DataConfig, PromptConfig
from reasoning_pipeline.recipe.model import ArmEdit, Recipe
from reasoning_pipeline.recipe.reference import meanings_of
from reasoning_pipeline.recipe.sections import sections
from reasoning_pipeline.recipe.workflows import stage_kinds, stage_module

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FILLED_IN = ("path", "sections", "arms", "steps", "data", "prompt")
"""Fields of Recipe that reading fills in, or that stand below as what is written."""

Schema = dict[str, Any]


def recipe_schema() -> Schema:
    """Of a recipe, with every stage that is known here and the keys that workflows add."""
    stages = {kind: stage_module(kind).Config for kind in stage_kinds()}
    added = {section.key: section.model for section in sections()}
    refs, definitions = _definitions([DataConfig, PromptConfig, ArmEdit, Recipe, *stages.values(), *added.values()])
    whole = definitions.pop(refs[Recipe]["$ref"].rpartition("/")[2])
    own = {name: value for name, value in whole["properties"].items() if name not in _FILLED_IN}
    kinds = {"type": "string", "enum": list(stages), "description": "What the step does: `stages` lists the kinds."}
    step: Schema = {
        "type": ["object", "null"],  # null takes a step of `extends` out
        "properties": {"stage": kinds},
        # An `extends` recipe may give a step's stage; one branch a kind lets an editor complete that kind's keys.
        "allOf": [
            {
                "if": {"type": "object", "properties": {"stage": {"const": kind}}, "required": ["stage"]},
                "then": refs[model],
            }
            for kind, model in stages.items()
        ],
    }
    arm = definitions[refs[ArmEdit]["$ref"].rpartition("/")[2]]
    arm["properties"] |= {section.key: refs[section.model] for section in sections() if section.in_arms}
    data: Schema = {"type": "object", "additionalProperties": refs[DataConfig]}
    if (other := added.pop("data", None)) is not None:  # of a workflow without problems
        data = {"anyOf": [data, refs[other]]}
    properties = own | {
        "extends": {"type": "string", "description": "A recipe whose keys this one starts from."},
        "data": data,
        "prompt": refs[PromptConfig],
        "steps": {"type": "object", "additionalProperties": step},
        "arms": {"type": "object", "additionalProperties": {"anyOf": [refs[ArmEdit], {"type": "null"}]}},
        "searched": {"type": ["object", "null"], "additionalProperties": {"type": ["string", "null"]}},
        **{key: {"anyOf": [refs[model], {"type": "null"}]} for key, model in added.items()},
    }
    return _file("A recipe", properties, definitions)


def schema_of(model: type[BaseModel], title: str) -> Schema:
    """Of a file that is one model: a hardware profile, a suite."""
    refs, definitions = _definitions([model])
    whole = definitions.pop(refs[model]["$ref"].rpartition("/")[2])
    return _file(title, whole["properties"] | {"extends": {"type": "string"}}, definitions, whole.get("required"))


def _file(title: str, properties: Schema, definitions: Schema, required: Iterable[str] | None = None) -> Schema:
    found = {"$schema": DIALECT, "title": title, "type": "object", "properties": properties}
    if required:
        found["required"] = list(required)
    return found | {"additionalProperties": False, "$defs": definitions}


def _definitions(models: list[type[BaseModel]]) -> tuple[dict[type[BaseModel], Schema], Schema]:
    """(reference of each model, definitions by name), with meanings, and with the shorter forms that readers allow."""
    found, whole = models_json_schema([(model, "validation") for model in models])
    refs: dict[type[BaseModel], Schema] = {model: dict(ref) for (model, _), ref in found.items()}  # type: ignore[misc]
    definitions = whole["$defs"]
    for model in models:
        properties = definitions[refs[model]["$ref"].rpartition("/")[2]].get("properties", {})
        for name, meaning in meanings_of(model).items():
            if name in properties:
                properties[name]["description"] = meaning
    return refs, {name: _relaxed(value) for name, value in definitions.items()}


def _relaxed(schema: Any) -> Any:
    """Where a list of words may stand, one word may; where a fraction may, a number."""
    if isinstance(schema, list):
        return [_relaxed(value) for value in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _relaxed(value) for key, value in schema.items()}
    if schema.get("type") == "array" and schema.get("items", {}).get("type") == "string":
        kept = {key: schema.pop(key) for key in ("description", "default", "title") if key in schema}
        return kept | {"anyOf": [schema, {"type": "string"}]}
    if schema.get("format") == "fraction":
        return {"type": ["string", "number"]}
    return schema
