"""What this workflow adds to recipes: `score_systems`, an evaluation behind every arm's system."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from reasoning_pipeline.recipe.model import MAIN, STEP, World
from reasoning_pipeline.recipe.sections import Section
from reasoning_pipeline.recipe.stage import StageConfig
from reasoning_pipeline.recipe.workflows import stage_module
from reasoning_pipeline.workflows.user_logs.scoring import Scoring


class ScoreSystems(Scoring):
    """How systems are scored."""

    judge: str | None = Field(None, pattern="^[^:]*/")
    """A model from outside of the recipe that scores what programs cannot, and is shown no rule."""
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
