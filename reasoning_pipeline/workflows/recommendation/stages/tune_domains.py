"""Phase 2 of LLM-EDT: the backbone is frozen, and each domain learns a position table and a small adapter of its own.

The frozen backbone reads the user's items of one domain alone; h' = h + MLP(h), BCE of the next item inside the domain,
summed over both. The served score is h·E + h'·E: already the untrained sum (`epochs: 0`) differs from phase 1, and most
of what phase 2 earned in trials was that. A missing phase-1 checkpoint is an error. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/tune_domains.yaml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.recipe.stage import Input, ModelRef
from reasoning_pipeline.workflows.recommendation.bundle import Bundle
from reasoning_pipeline.workflows.recommendation.embedding import ItemTable
from reasoning_pipeline.workflows.recommendation.histories import Histories
from reasoning_pipeline.workflows.recommendation.settings import Tuning
from reasoning_pipeline.workflows.recommendation.stages.pretrain_recommender import read_profiles

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext, StageOutcome


class Config(Tuning):
    stage: Literal["tune_domains"] = "tune_domains"
    policy: ModelRef
    """Phase 1."""
    histories: Annotated[str, Input("histories")]
    """What is learned from, domain by domain."""
    items: Annotated[str, Input("item_table")]
    """Vectors of the same catalogue."""
    profiles: Annotated[str | None, Input("profiles")] = None
    """Given, the alignment stands in this phase's loss too, as released."""


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes backbone and adapters together; every tensor of the backbone is what phase 1 published."""
    import torch

    from reasoning_pipeline.run.context import StageOutcome
    from reasoning_pipeline.workflows.recommendation.phases import tuned
    from reasoning_pipeline.workflows.recommendation.trained import Trained

    before = Bundle.load(context.inputs["policy"])
    trained = Trained.of(before)
    histories, table = Histories.load(context.inputs["histories"]), ItemTable.load(context.inputs["items"])
    table.require_catalogue(histories)
    if histories.items_digest != before.histories.items_digest:
        raise IncompatibleModels(
            "the histories are of another catalogue than phase 1 learned", remedy="let both read the same histories"
        )
    profiles, _ = read_profiles(context, histories, table)
    torch.manual_seed(context.seed)
    result = tuned(config, context, histories, trained, profiles)
    output = context.fresh_output()
    Bundle(
        about=before.about.model_copy(update={"adapter": config.adapter}),
        histories=histories,
        text_NX=before.text_NX,
        counts_N=before.counts_N,
        centroids_KX=before.centroids_KX,
        weights=before.weights | trained.weights(),
    ).save(output)
    context.copy_metrics(output)
    return StageOutcome(output, result)
