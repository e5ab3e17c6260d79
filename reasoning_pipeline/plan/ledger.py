"""The label ledger of one arm: who spends which pool, who reads its questions only, and what a lineage has spent.

Spending is checked when a recipe is read (recipe/checks.py), and once more when it is planned, against what models from
elsewhere have behind them; this module counts.
"""

from __future__ import annotations

from reasoning_pipeline.data.overlap import Overlap
from reasoning_pipeline.data.pools import Pools
from reasoning_pipeline.recipe.model import Recipe
from reasoning_pipeline.recipe.stage import Measures, Prompts, Spends, StageConfig, fields_marked
from reasoning_pipeline.records import Problem
from reasoning_pipeline.registry.record import Spend

DIGEST_CHARACTERS = 16


class Ledger:
    """What the steps of one arm take from its pools."""

    def __init__(self, recipe: Recipe, pools: Pools) -> None:
        self.recipe, self.pools = recipe, pools

    def data(self, name: str) -> list[Problem]:
        """The problems of a data set that stand in no benchmark of the recipe."""
        return self.pools.set(name).problems

    def pool(self, name: str) -> list[Problem]:
        """The problems of one pool, in stable order."""
        return self.pools.pool(name)

    def problems(self, pools: tuple[str, ...]) -> list[Problem]:
        """The problems of several pools together."""
        return self.pools.problems(pools)

    def digest(self, pools: tuple[str, ...]) -> str:
        """Identity of the problems in these pools."""
        return self.pools.digest(pools)

    @property
    def left_out(self) -> dict[str, dict[str, list[Overlap]]]:
        """Data set -> suite -> overlaps for which training problems were left out."""
        return {name: self.pools.set(name).overlaps for name in self.recipe.data}

    def spends_of(self, config: StageConfig, step: str) -> tuple[Spend, ...]:
        """The labels that a step with this config takes, under the name it is to have."""
        replay = bool(getattr(config, "replay", False))
        return tuple(
            Spend(step, pool, len(self.pool(pool)), replay, pool_digest=self._digest(pool))
            for pool in _named(config, Spends)
        )

    def asks_of(self, config: StageConfig, step: str) -> tuple[Spend, ...]:
        """The questions that it reads without their answers, and the answers that it only scores with."""
        read = [
            Spend(step, pool, 0, prompts=len(self.pool(pool)), pool_digest=self._digest(pool))
            for pool in _named(config, Prompts)
        ]
        scored = [
            Spend(step, pool, 0, measured=len(self.pool(pool)), pool_digest=self._digest(pool))
            for pool in _named(config, Measures)
        ]
        return (*read, *scored)

    def _digest(self, pool: str) -> str:
        return self.pools.digest((pool,))[:DIGEST_CHARACTERS]


def _named(config: StageConfig, mark: type) -> list[str]:
    return [pool for field in fields_marked(type(config), mark) for pool in getattr(config, field)]
