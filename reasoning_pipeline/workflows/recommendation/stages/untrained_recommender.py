"""Publishes a recommender that learns nothing: what is popular, or whose title is nearest to the history.

Both stand beside every ranking: under negatives drawn by popularity, untrained title cosine has beaten trained models.
They are checkpoints like any other, so that arms, evaluations and serving treat them alike. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/untrained_recommender.yaml
"""

from __future__ import annotations

from typing import Literal

from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.workflows.recommendation.bundle import Bundle
from reasoning_pipeline.workflows.recommendation.embedding import items_of, profiles_of
from reasoning_pipeline.workflows.recommendation.settings import About, OfItems


class Config(OfItems):
    stage: Literal["untrained_recommender"] = "untrained_recommender"
    scores: Literal["popularity", "title_cosine"]
    """How often an item was taken, or the cosine of its title to the history."""


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes the bundle; seconds."""
    histories, table = items_of(context)
    _, centroids = profiles_of(context, histories, table)
    output = context.fresh_output()
    Bundle(About(kind=config.scores), histories, table.vectors_NX, histories.counts_N, centroids).save(output)
    return StageOutcome(output, {"items": len(histories.items)})
