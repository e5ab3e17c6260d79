"""Which workflows there are: the folders of `reasoning_pipeline/workflows/`, found by their names alone.

Beside its `stages/` a workflow may have three small files: `in_recipe.py` lists the sections that it adds to recipes
(recipe/sections.py), `in_plan.py` its judges (plan/judging.py), `on_page.py` its parts of the report (report/parts.py).
Each has a tuple `CONTRIBUTES`. No other room knows which workflows there are.

Two ways lead in from outside the package. An installed one names a package that is such a folder in the entry-point
group `reasoning_pipeline.workflows`. And a recipe names files or folders of stages in `stages:`; what they hold is then
part of the identity of the steps that they do.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from reasoning_pipeline.custom.loading import fault_of, load_file
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.recipe.stage import StageConfig

WORKFLOWS = "reasoning_pipeline.workflows"
"""The package that holds ours, and the entry-point group that names those of others."""


@cache
def workflow_folders() -> dict[str, Path]:
    """Package -> its folder, ours first."""
    places = importlib.import_module(WORKFLOWS).__path__
    ours = sorted(path.parent for place in places for path in Path(place).glob("*/__init__.py"))
    found = {f"{WORKFLOWS}.{folder.name}": folder for folder in ours}
    for entry in sorted(entry_points(group=WORKFLOWS), key=lambda entry: entry.value):
        spec = importlib.util.find_spec(entry.value)
        if spec is None or spec.origin is None:
            raise PipelineError(
                f"the workflow {entry.name} is declared as {entry.value}, which cannot be imported",
                remedy="install its package again, or remove it",
            )
        found[entry.value] = Path(spec.origin).parent
    return found


@cache
def contributed(file: str) -> tuple[Any, ...]:
    """What all workflows list in `CONTRIBUTES` of their file of this name."""
    found: list[Any] = []
    for package, folder in workflow_folders().items():
        if (folder / f"{file}.py").is_file():
            found += importlib.import_module(f"{package}.{file}").CONTRIBUTES
    return tuple(found)


@cache
def _stages() -> dict[str, str]:
    """Kind -> module: one per file in a workflow's `stages/`."""
    found: dict[str, str] = {}
    for package, folder in workflow_folders().items():
        for path in sorted((folder / "stages").glob("[!_]*.py")):
            module = f"{package}.stages.{path.stem}"
            if (other := found.setdefault(path.stem, module)) != module:
                raise PipelineError(f"two stages are called {path.stem}: {other} and {module}", remedy="rename one")
    return found


_OWN: dict[str, Path] = {}
"""Kind -> file of the stages that recipes of this process name."""


def add_stages(paths: Iterable[Path]) -> Iterator[str]:
    """Makes stages of one's own known: a file each, or all files of a folder. Yields what is wrong with them.

    They are trusted code, run when the recipe is read. Two recipes of one process may not mean different files by one
    kind.
    """
    for path in paths:
        files = sorted(path.glob("[!_]*.py")) if path.is_dir() else [path]
        if not path.exists() or not files:
            yield f"{path}: no Python file (a relative path starts at the recipe's folder)"
        for file in files if path.exists() else ():
            kind = file.stem
            if kind in _stages() or _OWN.get(kind, file.resolve()) != file.resolve():
                other = _OWN.get(kind) or _stages()[kind]
                yield f"{file}: a stage is called {kind!r} already ({other}); rename the file"
                continue
            _OWN[kind] = file.resolve()
            sys.modules.pop(f"own_stages.{kind}", None)  # its text may have changed since
            try:
                config = getattr(stage_module(kind), "Config", None)
            except Exception as error:
                yield f"{file}: {fault_of(error, str(file))}"
            else:
                if not (isinstance(config, type) and issubclass(config, StageConfig)):
                    yield f"{file}: has no class `Config(StageConfig)` (docs/own_stage.md)"
                elif not callable(getattr(stage_module(kind), "run", None)):
                    yield f"{file}: has no function `run(config, context)` (docs/own_stage.md)"
                else:
                    continue
            del _OWN[kind]


def own_stage(kind: str) -> Path | None:
    """The file of a stage that a recipe named; None for those of packages."""
    return _OWN.get(kind)


def stage_kinds() -> tuple[str, ...]:
    """Names of the stages that exist."""
    return tuple(sorted({**_stages(), **_OWN}))


def stage_text(kind: str) -> str:
    """The docstring of a stage's file, read and not imported: a list of all stages is a look at their texts."""
    found = importlib.util.find_spec(_stages()[kind]) if kind not in _OWN else None
    path = _OWN[kind] if found is None else Path(found.origin or "")
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def stage_module(kind: str) -> ModuleType:
    """The module of one stage. Importing it must stay cheap (no torch); the contract test checks."""
    if kind not in _OWN:
        return _packaged(kind)
    name = f"own_stages.{kind}"
    return sys.modules.get(name) or load_file(_OWN[kind], name)


@cache
def _packaged(kind: str) -> ModuleType:
    return importlib.import_module(_stages()[kind])
