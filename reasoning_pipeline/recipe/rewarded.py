"""What every step that judges answers shares: which reward, and the files that it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from reasoning_pipeline.recipe.stage import File, StageConfig
from reasoning_pipeline.rewards.config import MATH, Reward, brought, is_math, named_files, reward_problems


class Rewarded(StageConfig):
    """Mixin for stages that judge what a policy writes."""

    reward: Reward = Field(MATH, exclude_if=is_math)
    """What an answer is worth: `math` (the verifier), `exact`, `choice`, `numeric`, `format`, a function of one's own
    (`my_rewards.py:name`), or a list of them with weights (docs/own_reward.md)."""
    reward_files: Annotated[dict[str, str], File()] = Field({}, exclude_if=lambda files: not files)
    """Name -> file that the reward needs. Files of functions are added by themselves; name here what those import."""

    @model_validator(mode="before")
    @classmethod
    def _functions_files(cls, values: Any) -> Any:
        return named_files(values)

    def brings(self) -> dict[str, str]:
        return {**super().brings(), **brought(self.reward, self.reward_files)}

    def problems_in(self, folder: Path) -> Iterator[str]:
        yield from super().problems_in(folder)
        yield from (f"reward: {problem}" for problem in reward_problems(self.reward, self.reward_files, folder))
