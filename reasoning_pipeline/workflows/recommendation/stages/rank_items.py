"""Asks a recommender where each user's next item stands among others: uniform, popularity-weighted and full ranking.

Candidates follow from user and seed alone, so every checkpoint answers the same; ties count against the target.
Popularity, untrained title cosine and chance are ranked beside. It publishes an evaluation: one problem a user, right
where the target is among the first k. `ranking:` in a recipe puts it behind the checkpoints; no label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/rank_items.yaml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from reasoning_pipeline.recipe.stage import STEP_PROGRAM, Evaluation
from reasoning_pipeline.workflows.recommendation.bundle import Bundle

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext, StageOutcome


class Config(Evaluation):
    program = (STEP_PROGRAM,)

    stage: Literal["rank_items"] = "rank_items"
    suites: tuple[Literal["uniform", "popularity", "full"], ...] = ("uniform", "popularity", "full")
    """Rankings to make."""
    samples: Literal[1] = 1
    """One question a user."""
    part: Literal["valid", "test"] = "test"
    """Which targets are asked for."""
    negatives: int = Field(100, ge=1)
    """Items of its domain that the target stands among."""
    k: int = Field(10, ge=1)
    """What counts as right: the target among the first k."""
    shown: int = Field(6, ge=0)
    """Users whose first ten are kept for the page."""

    def decoding(self) -> str:
        return (
            f"one question a user, right where the item that was taken is among the first {self.k}; "
            f"{self.negatives} negatives, or the whole domain (`full`)"
        )


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes a folder a ranking: `problems.csv` with every user's figures; and the few users that the page shows."""
    from reasoning_pipeline.run.context import StageOutcome
    from reasoning_pipeline.workflows.recommendation.evaluating import evaluate

    metrics = context.start_metrics(total_steps=len(config.suites))
    output = context.fresh_output()
    result = evaluate(
        Bundle.load(context.inputs["checkpoint"]),
        output,
        rankings=config.suites,
        part=config.part,
        negatives=config.negatives,
        k=config.k,
        shown=config.shown,
        seed=context.seed,
        between=context.stop_if_asked,
    )
    metrics.close()
    return StageOutcome(output, result | {"seconds": round(metrics.seconds, 2)})
