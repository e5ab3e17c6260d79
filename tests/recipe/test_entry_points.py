"""A workflow in an installed distribution: found by its entry point, as one that ships is found by its folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.recipe.workflows import (
    _packaged,
    _stages,
    contributed,
    stage_kinds,
    stage_module,
    workflow_folders,
)
from tests.bench import Bench, write_files

CACHES = (workflow_folders, _stages, contributed, _packaged)
STAGE = '''"""Publishes a model as it is."""
from typing import Literal
from reasoning_pipeline.recipe.stage import ModelRef, StageConfig

class Config(StageConfig):
    stage: Literal["publish_again"] = "publish_again"
    policy: ModelRef

def run(config, context): ...
'''
SECTION = """
from pydantic import BaseModel
from reasoning_pipeline.recipe.sections import Section

class Greeting(BaseModel):
    word: str

class OfGreetings(Section):
    key = "greeting"
    model = Greeting

CONTRIBUTES = (OfGreetings(),)
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """install("other.workflow", files) puts a distribution of these files into a folder of the search path."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def make(declared: str, files: dict[str, str]) -> None:
        declaration = f"[reasoning_pipeline.workflows]\nmine = {declared}\n"
        about = {"METADATA": "Metadata-Version: 2.1\nName: other\nVersion: 1.0\n", "entry_points.txt": declaration}
        write_files(tmp_path / "site" / "other-1.0.dist-info", about)
        write_files(tmp_path / "site" / "other", files)
        for cache in CACHES:
            cache.cache_clear()

    yield make
    monkeypatch.undo()
    for cache in CACHES:
        cache.cache_clear()
    for module in [name for name in sys.modules if name.split(".")[0] == "other"]:
        del sys.modules[module]


FILES = {"__init__.py": "", "workflow/__init__.py": "", "workflow/stages/__init__.py": ""}


def test_stages_and_keys_of_an_installed_workflow_are_those_of_a_recipe(bench: Bench, install: Install):
    more = {"workflow/stages/publish_again.py": STAGE, "workflow/in_recipe.py": SECTION}
    install("other.workflow", FILES | more)
    assert "publish_again" in stage_kinds() and stage_module("publish_again").__name__.startswith("other.workflow.")

    def change(recipe: dict) -> None:
        recipe["steps"]["again"] = {"stage": "publish_again", "policy": "step:teacher_base"}
        recipe["greeting"] = {"word": "hello"}

    plan = bench.plan(change)
    assert plan.step("again").input("policy").step == "teacher_base"
    assert plan.recipe.sections["greeting"].word == "hello"  # type: ignore[attr-defined]
    assert plan.step("distill").fingerprint == bench.plan().step("distill").fingerprint, "and nothing else is touched"


def test_a_stage_may_not_have_the_name_of_one_that_ships(install: Install):
    install("other.workflow", FILES | {"workflow/stages/sparse_grpo.py": STAGE})
    with pytest.raises(PipelineError, match=r"two stages are called sparse_grpo: .* and other\.workflow\.stages"):
        stage_kinds()


def test_what_is_declared_and_cannot_be_imported_is_told(install: Install):
    install("other.gone", FILES)
    with pytest.raises(PipelineError, match=r"the workflow mine is declared as other\.gone, which cannot be imported"):
        workflow_folders()
