"""The keys that recipes of this workflow have beside everybody's: where their files lie, and how they are ranked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from reasoning_pipeline.recipe.checks import checkpoint_problems
from reasoning_pipeline.recipe.model import MAIN, STEP, Recipe, World
from reasoning_pipeline.recipe.sections import Section
from reasoning_pipeline.recipe.stage import StageConfig
from reasoning_pipeline.recipe.workflows import stage_module

TITLED = {
    "overlap": "train_overlap.txt",
    "A": "train_A.txt",
    "B": "train_B.txt",
    "valid": "valid.txt",
    "test": "test.txt",
}
NAMES = {
    "titled": {"items": "items.jsonl", **TITLED},
    "timed": {"items": "items.jsonl", "histories": "histories.jsonl"},
}
"""Source -> what a file is to it -> how the file is called in a folder."""
RECIPIENT = "read_histories"
RANKS = "rank_items"


class Folder(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

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
        folder = recipe.folder / Path(given.path).expanduser()
        if not folder.is_dir():
            yield f"data.path: no folder {given.path!r} (a relative path starts at the recipe's folder)"
            return
        for name, config in recipe.steps.items():
            if config.stage == RECIPIENT and not _files(config, folder):
                yield f"data.path: {given.path!r} has no items.jsonl, which steps.{name} reads"

    def changed(self, recipe: Recipe, step: str, config: StageConfig) -> StageConfig:
        given: Folder | None = recipe.sections.get(self.key)
        if given is None or config.stage != RECIPIENT or getattr(config, "files", None):
            return config
        return config.model_copy(update={"files": _files(config, recipe.folder / Path(given.path).expanduser())})


def _files(config: StageConfig, folder: Path) -> dict[str, str]:
    names = NAMES.get(getattr(config, "source", ""), {})
    found = {part: str((folder / name).resolve()) for part, name in names.items() if (folder / name).is_file()}
    return found if "items" in found else {}


class RankingConfig(BaseModel):
    """Which recommenders are ranked, and how; the fields of stages/rank_items.py."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suites: tuple[Literal["uniform", "popularity", "full"], ...] = Field(
        ("uniform", "popularity", "full"), min_length=1
    )
    """Rankings to make."""
    part: Literal["valid", "test"] = "test"
    """Which targets are asked for; `valid` while settings are being chosen."""
    negatives: int = Field(100, ge=1)
    """Items of its domain that the target stands among."""
    k: int = Field(10, ge=1)
    """What counts as right: the target among the first k."""
    shown: int = Field(6, ge=0)
    """Users whose lists stand on the page."""
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
        step = stage_module(RANKS).Config(checkpoint=STEP, **config.model_dump(exclude={"of"}))
        for name, made in world.recipe.steps.items():
            if type(made).publishes != "checkpoint":
                continue
            if name == world.outcome or (world.arm == MAIN and (config.of is None or name in config.of)):
                yield name, "rank", step
