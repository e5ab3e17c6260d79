"""The schema for editors: whatever ships is valid by it, and what is misspelt is not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from reasoning_pipeline.data.suites.spec import SuiteSpec
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.recipe.schema import recipe_schema, schema_of
from tests.bench import PROJECT, RECIPE, command

RECIPES = sorted([*(PROJECT / "recipes").glob("*.yaml"), *(PROJECT / "recipes" / "smoke").glob("*.yaml")])
FLOAT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


@pytest.fixture(scope="module")
def recipes() -> jsonschema.Draft202012Validator:
    schema = recipe_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def read(text: str) -> Any:
    """As YAML 1.2, which editors read: there 1e-3 is a number."""
    return numbers(yaml.safe_load(text))


def numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [numbers(inner) for inner in value]
    return float(value) if isinstance(value, str) and FLOAT.fullmatch(value) else value


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recipe_that_ships_is_valid(recipes: jsonschema.Draft202012Validator, path: Path):
    assert [(list(e.absolute_path), e.message) for e in recipes.iter_errors(read(path.read_text()))] == []


@pytest.mark.parametrize("change", [
    lambda r: r["steps"]["teacher_rl"].update(group_sise=4),
    lambda r: r["steps"]["teacher_rl"].update(group_size=1),
    lambda r: r["steps"]["warmup"].update(stage="forward_kl"),
    lambda r: r["evaluate"].update(suits=["a"]),
    lambda r: r["data"]["problems"].update(source="parquet"),
    lambda r: r.update(stepz={}),
])  # fmt: skip
def test_a_misspelt_key_or_value_is_not(recipes: jsonschema.Draft202012Validator, change: Any):
    values = read(RECIPE)
    assert recipes.is_valid(values)
    change(values)
    assert not recipes.is_valid(values)


def test_a_key_is_explained():
    definitions = recipe_schema()["$defs"]
    (grpo,) = (
        d for d in definitions.values() if d.get("properties", {}).get("stage", {}).get("const") == "sparse_grpo"
    )
    assert "Rollouts of one problem" in grpo["properties"]["group_size"]["description"]


@pytest.mark.parametrize(("model", "folder"), [(HardwareProfile, "hardware/profiles"), (SuiteSpec, "data/suites")])
def test_profiles_and_suites_that_ship_are_valid(model: Any, folder: str):
    validator = jsonschema.Draft202012Validator(schema_of(model, "x"))
    paths = sorted((PROJECT / "reasoning_pipeline" / folder).glob("*.yaml"))
    assert paths
    assert [(p.name, e.message) for p in paths for e in validator.iter_errors(read(p.read_text()))] == []


def test_the_command_prints_it():
    shown = command("schema", "profile")
    assert shown.returncode == 0 and json.loads(shown.stdout)["title"] == "A hardware profile"
