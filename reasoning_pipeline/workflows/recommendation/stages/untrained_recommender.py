"""Publishes a recommender that learns nothing: what is popular, or whose title is nearest to the history.

Both stand beside every ranking: under negatives drawn by popularity, untrained title cosine has beaten trained models.
They are checkpoints like any other, so that arms, evaluations and serving treat them alike. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/untrained_recommender.yaml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from reasoning_pipeline.recipe.stage import Input, StageConfig
from reasoning_pipeline.workflows.recommendation.bundle import About, Bundle
from reasoning_pipeline.workflows.recommendation.clustering import centroids_of
from reasoning_pipeline.workflows.recommendation.embedding import ItemTable
from reasoning_pipeline.workflows.recommendation.histories import Histories

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext, StageOutcome


class Config(StageConfig):
    heavy: ClassVar[bool] = False

    stage: Literal["untrained_recommender"] = "untrained_recommender"
    histories: Annotated[str, Input("histories")]
    """Whose catalogue and counts it scores with."""
    items: Annotated[str, Input("item_table")]
    """Vectors of the same catalogue."""
    scores: Literal["popularity", "title_cosine"]
    """How often an item was taken, or the cosine of its title to the history."""


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes the bundle; seconds."""
    from reasoning_pipeline.run.context import StageOutcome

    histories, table = Histories.load(context.inputs["histories"]), ItemTable.load(context.inputs["items"])
    table.require_catalogue(histories)
    output = context.fresh_output()
    Bundle(
        about=About(kind=config.scores),
        histories=histories,
        text_NX=table.vectors_NX,
        counts_N=histories.counts_N,
        centroids_KX=centroids_of(table.vectors_NX, 10, seed=0),
    ).save(output)
    return StageOutcome(output, {"items": len(histories.items)})
