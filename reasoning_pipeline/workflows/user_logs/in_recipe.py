"""What this workflow adds to recipes: `score_systems`, an evaluation behind every arm's system."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from reasoning_pipeline.recipe.model import MAIN, STEP, World
from reasoning_pipeline.recipe.sections import Section
from reasoning_pipeline.recipe.stage import StageConfig
from reasoning_pipeline.recipe.workflows import stage_module
from reasoning_pipeline.workflows.user_logs.logs import HubLogs
from reasoning_pipeline.workflows.user_logs.players import Judging


class ScoreSystems(BaseModel):
    """How systems are scored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str | None = None
    """JSONL of queries with checks; the small world's own where none is given."""
    hub: HubLogs | None = None
    """Queries of the hub, which a judge scores."""
    judge: str | None = Field(None, pattern="^[^:]*/")
    """The model that scores them, from outside of the recipe."""
    judging: Judging = Judging()
    """How it is asked."""
    count: int = Field(300, ge=1)
    """How many."""
    seed: int = 0
    """Of the answers."""


class ScoreSystemsSection(Section):
    """`score_systems:` in a recipe: of the main arm every system, of the others their outcome."""

    key = "score_systems"
    model = ScoreSystems

    def companions(self, world: World) -> Iterator[tuple[str, str, StageConfig]]:
        config: ScoreSystems | None = world.recipe.sections.get(self.key)
        if config is None:
            return
        values: dict[str, Any] = {"checkpoint": STEP, **config.model_dump()}
        step = stage_module("evaluate_system").Config(**values)
        for name, made in world.recipe.steps.items():
            if made.publishes == "system" and (world.arm == MAIN or name == world.outcome):
                yield name, "score", step


CONTRIBUTES = (ScoreSystemsSection(),)
