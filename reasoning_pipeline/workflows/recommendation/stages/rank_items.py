"""Asks a recommender where each user's next item stands among others: uniform, popularity-weighted and full ranking.

Candidates follow from user and seed alone, so every checkpoint answers the same; ties count against the target.
Popularity, untrained title cosine and chance are ranked beside. It publishes an evaluation: one problem a user, right
where the target is among the first k. `ranking:` in a recipe puts it behind the checkpoints; no label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/rank_items.yaml
"""

from __future__ import annotations

from typing import Literal

from reasoning_pipeline.recipe.stage import STEP_PROGRAM, Evaluation
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.workflows.recommendation.bundle import Bundle
from reasoning_pipeline.workflows.recommendation.settings import Rankings


class Config(Rankings, Evaluation):
    program = (STEP_PROGRAM,)

    stage: Literal["rank_items"] = "rank_items"
    samples: Literal[1] = 1
    """One question a user."""

    def decoding(self) -> str:
        return (
            f"one question a user, right where the item that was taken is among the first {self.k}; "
            f"{self.negatives} negatives, or the whole domain (`full`)"
        )


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes a folder a ranking: `problems.csv` with every user's figures; and the few users that the page shows."""
    from reasoning_pipeline.workflows.recommendation.ranking import evaluate

    metrics = context.start_metrics(total_steps=len(config.suites))
    output, bundle = context.fresh_output(), Bundle.load(context.inputs["checkpoint"])
    result = evaluate(bundle, output, config, seed=context.seed, between=context.stop_if_asked)
    metrics.close()
    return StageOutcome(output, result | {"seconds": round(metrics.seconds, 2)})
