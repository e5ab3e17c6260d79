"""The keys that recommendation recipes have beside everybody's: where their files lie, and how they are ranked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reasoning_pipeline.recipe.checks import checkpoint_problems
from reasoning_pipeline.recipe.model import MAIN, STEP, Recipe, World
from reasoning_pipeline.recipe.sections import Section
from reasoning_pipeline.recipe.stage import StageConfig
from reasoning_pipeline.recipe.workflows import stage_module
from reasoning_pipeline.workflows.recommendation.settings import Rankings, Strict

TITLED = {name: f"train_{name}.txt" for name in ("overlap", "A", "B")} | {"valid": "valid.txt", "test": "test.txt"}
NAMES = {
    "titled": {"items": "items.jsonl", **TITLED},
    "timed": {"items": "items.jsonl", "histories": "histories.jsonl"},
}
"""Source -> what a file is to it -> how the file is called in a folder."""
RECIPIENT = "read_histories"


class Folder(Strict):
    path: str
    """A folder of files as `read_histories` names them; relative paths start at the recipe's folder."""


class DataFolder(Section):
    """`data: {path: FOLDER}`: the files of every `read_histories` step that names none itself."""

    key = "data"
    model = Folder

    def claims(self, raw: Any) -> bool:
        return isinstance(raw, dict) and isinstance(raw.get("path"), str)

    def problems(self, recipe: Recipe, all_names: list[str]) -> Iterator[str]:
        given: Folder | None = recipe.sections.get(self.key)
        if given is None:
            return
        if not _folder(recipe, given).is_dir():
            yield f"data.path: no folder {given.path!r} (a relative path starts at the recipe's folder)"
            return
        for name, config in recipe.steps.items():
            if config.stage == RECIPIENT and not _files(config, _folder(recipe, given)):
                yield f"data.path: {given.path!r} has no items.jsonl, which steps.{name} reads"

    def changed(self, recipe: Recipe, step: str, config: StageConfig) -> StageConfig:
        given: Folder | None = recipe.sections.get(self.key)
        if given is None or config.stage != RECIPIENT or getattr(config, "files", None):
            return config
        return config.model_copy(update={"files": _files(config, _folder(recipe, given))})


def _folder(recipe: Recipe, given: Folder) -> Path:
    return recipe.folder / Path(given.path).expanduser()


def _files(config: StageConfig, folder: Path) -> dict[str, str]:
    names = NAMES.get(getattr(config, "source", ""), {})
    found = {part: str((folder / name).resolve()) for part, name in names.items() if (folder / name).is_file()}
    return found if "items" in found else {}


class RankingConfig(Rankings):
    """Which recommenders are ranked, and how."""

    seed: int = 0
    """Of the candidates: not the recipe's, so that all seeds are asked the same."""
    of: tuple[str, ...] | None = None
    """Steps of the main arm that are ranked; all its checkpoints where it is not given. Every arm's outcome is
    ranked besides."""


class RankingSection(Section):
    """`ranking:` in a recipe."""

    key = "ranking"
    model = RankingConfig

    def problems(self, recipe: Recipe, all_names: list[str]) -> Iterator[str]:
        config: RankingConfig | None = recipe.sections.get(self.key)
        for name in (config.of or ()) if config is not None else ():
            yield from checkpoint_problems(recipe, name, "ranking.of", "only checkpoints are ranked", all_names)

    def companions(self, world: World) -> Iterator[tuple[str, str, StageConfig]]:
        config: RankingConfig | None = world.recipe.sections.get(self.key)
        if config is None:
            return
        step = stage_module("rank_items").Config(checkpoint=STEP, **config.model_dump(exclude={"of"}))
        for name, made in world.recipe.steps.items():
            asked = world.arm == MAIN and (config.of is None or name in config.of)
            if type(made).publishes == "checkpoint" and (asked or name == world.outcome):
                yield name, "rank", step


CONTRIBUTES = (DataFolder(), RankingSection())
