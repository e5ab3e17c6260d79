"""YAML -> validated recipe. Everything wrong is gathered and reported once, with place and suggestion.

A recipe says what the experiment is: data and pools, the prompt, the steps, the evaluations, the arms (model.py has
the records), and what workflows add (sections.py). Where it runs is a hardware profile. No torch here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.validation import readable_validation, suggestion, texts
from reasoning_pipeline.base.yaml_files import apply_override, read_with_parents
from reasoning_pipeline.data.config import DataConfig
from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.recipe.arms import derive_arms
from reasoning_pipeline.recipe.checks import recipe_problems
from reasoning_pipeline.recipe.model import MAIN, STEP, Arm, Recipe, lineage
from reasoning_pipeline.recipe.sections import read_sections, sections
from reasoning_pipeline.recipe.shipped import recipe_file
from reasoning_pipeline.recipe.stage import Input, Prompts, Reads, Spends, StageConfig, fields_marked
from reasoning_pipeline.recipe.workflows import add_stages, stage_kinds, stage_module
from reasoning_pipeline.records import ARTIFACT_KIND

__all__ = ["MAIN", "STEP", "Arm", "Recipe", "lineage", "load_recipe"]


HIDDEN = ("path", "sections")
"""Fields of a recipe that nobody writes."""


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read, override and validate a recipe.

    Args:
        path: The YAML file, or the name of a recipe that ships. A recipe may name another in `extends:`; it then holds
            only the differences.
        overrides: `steps.distill.learning_rate=2e-6` and the like; the value is read as YAML.

    Raises:
        RecipeError: Lists every problem found (exit status 2).
    """
    path = recipe_file(path)
    values = read_with_parents(path)
    problems: list[str] = []
    for override in overrides:
        apply_override(values, override, problems)
    return _validate(values, path, problems)


def _validate(values: dict[str, Any], path: Path, problems: list[str]) -> Recipe:
    named = values.get("stages")
    if named is not None and not texts(named):
        problems.append("stages: expected files or folders of stages")
    problems.extend(f"stages: {problem}" for problem in add_stages(stage_paths(texts(named), path)))
    raw_steps = values.get("steps") or {}
    if not isinstance(raw_steps, dict):
        problems.append("steps: expected a mapping of step names")
        raw_steps = {}
    raw_steps = {str(name): raw for name, raw in raw_steps.items()}
    steps: dict[str, StageConfig] = {}
    for name, raw in raw_steps.items():
        config = _read_step(f"steps.{name}", name, raw, problems)
        if config is not None:
            steps[name] = config
    if not raw_steps and not problems:
        problems.append("steps: a recipe needs at least one step")
    for hidden in HIDDEN:
        if hidden in values:
            problems.append(f"{hidden}: unknown key")
    own = {key: value for key, value in values.items() if key not in HIDDEN}
    found = read_sections(own, problems)
    recipe = readable_validation(
        Recipe,
        {**own, "steps": {}, "arms": {}, "path": path},
        place="",
        problems=problems,
        hidden=HIDDEN,
        known=[section.key for section in sections()],
    )
    recipe = (recipe or _recipe_sketch(own, path)).model_copy(update={"steps": steps, "sections": found})
    problems.extend(recipe_problems(recipe, all_names=list(raw_steps)))
    derive_arms(values.get("arms"), recipe, raw_steps, _read_step, problems)
    if problems:
        raise RecipeError(str(path), problems)
    return recipe


def stage_paths(named: Iterable[str], recipe: Path) -> list[Path]:
    """Files and folders of stages as a recipe names them, relative to its folder."""
    return [recipe.resolve().parent / Path(one).expanduser() for one in named]


def _read_step(place: str, name: str, raw: Any, problems: list[str]) -> StageConfig | None:
    if not isinstance(raw, dict):
        problems.append(f"{place}: expected fields, found {type(raw).__name__}")
        return None
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        problems.append(f"{place}: a step's name is made of letters, digits, '_' and '-'")
    kind = raw.get("stage")
    if kind not in stage_kinds():
        found = f"no stage is called {kind!r}{suggestion(str(kind), stage_kinds())}" if kind else "which stage?"
        problems.append(f"{place}.stage: {found} (stages: {', '.join(stage_kinds())})")
        return None
    model = stage_module(str(kind)).Config
    if not re.fullmatch(ARTIFACT_KIND, model.publishes):
        problems.append(
            f"{place}.stage: {kind} publishes {model.publishes!r}, which cannot name a kind of artifact "
            "(lower-case letters, digits and '_')"
        )
        return None
    return readable_validation(model, raw, place=place, problems=problems) or _step_sketch(model, raw)


def _step_sketch(model: type[StageConfig], raw: dict[str, Any]) -> StageConfig:
    """The references and pools of a step with other problems, so that these are checked in the same go."""
    links: dict[str, Any] = {"stage": raw["stage"], "replay": raw.get("replay")}
    for field in fields_marked(model, Input):
        links[field] = raw[field] if isinstance(raw.get(field), str) else ""
    for mark in (Spends, Prompts):
        for field in fields_marked(model, mark):
            links[field] = tuple(texts(raw.get(field)))
    for field in fields_marked(model, Reads):
        links[field] = raw[field] if isinstance(raw.get(field), str) else None
    return model.model_construct(**links)


def _recipe_sketch(values: dict[str, Any], path: Path) -> Recipe:
    """The pools of a recipe with other problems, for the same purpose."""
    data = {}
    for name, raw in _mapping_or_empty(values.get("data")).items():
        shares: dict[str, Any] = {"pools": dict.fromkeys(texts(_mapping_or_empty(raw).get("pools")), Fraction(0))}
        data[str(name)] = DataConfig.model_construct(**shares)
    links: dict[str, Any] = {"data": data, "arms": {}, "path": path}
    if isinstance(values.get("outcome"), str):
        links["outcome"] = values["outcome"]
    return Recipe.model_construct(**links)


def _mapping_or_empty(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}
