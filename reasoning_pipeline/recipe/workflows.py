"""Which workflows there are: the folders of `reasoning_pipeline/workflows/`, found by their names alone.

Beside its `stages/` a workflow may have three small files: `in_recipe.py` lists the sections that it adds to recipes
(recipe/sections.py), `in_plan.py` its judges (plan/judging.py), `on_page.py` its parts of the report (report/parts.py).
Each has a tuple `CONTRIBUTES`. No other room knows which workflows there are.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from reasoning_pipeline.base.files import shipped
from reasoning_pipeline.errors import PipelineError

WORKFLOWS = "reasoning_pipeline.workflows"


def workflow_folders() -> list[Path]:
    return sorted(path.parent for path in shipped(WORKFLOWS).glob("*/__init__.py"))


@cache
def contributed(file: str) -> tuple[Any, ...]:
    """What all workflows list in `CONTRIBUTES` of their file of this name."""
    found: list[Any] = []
    for folder in workflow_folders():
        if (folder / f"{file}.py").is_file():
            found += importlib.import_module(f"{WORKFLOWS}.{folder.name}.{file}").CONTRIBUTES
    return tuple(found)


@cache
def _stages() -> dict[str, str]:
    """Kind -> module: one per file in a workflow's `stages/`."""
    found: dict[str, str] = {}
    for folder in workflow_folders():
        for path in sorted((folder / "stages").glob("[!_]*.py")):
            module = f"{WORKFLOWS}.{folder.name}.stages.{path.stem}"
            if (other := found.setdefault(path.stem, module)) != module:
                raise PipelineError(f"two stages are called {path.stem}: {other} and {module}", remedy="rename one")
    return found


def stage_kinds() -> tuple[str, ...]:
    """Names of the stages that exist."""
    return tuple(sorted(_stages()))


@cache
def stage_module(kind: str) -> ModuleType:
    """The module of one stage. Importing it must stay cheap (no torch); the contract test checks."""
    return importlib.import_module(_stages()[kind])
