"""Phase 1 of LLM-EDT: one SASRec learns every user's mixed sequence, both domains together, augmented or not.

The loss is BCE of the next item and one negative of its domain at every position, plus a contrastive alignment of the
user's state with the profile's vector where profiles are given (the figure has it here; the released code left it
commented out). Early stopping by NDCG@10 on validation targets. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/pretrain_recommender.yaml
"""

from __future__ import annotations

from typing import Literal

from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.workflows.recommendation.bundle import Bundle
from reasoning_pipeline.workflows.recommendation.embedding import items_of, profiles_of
from reasoning_pipeline.workflows.recommendation.settings import About, OfItems, Pretraining


class Config(OfItems, Pretraining):
    stage: Literal["pretrain_recommender"] = "pretrain_recommender"


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes the best epoch as a bundle; a killed step continues after its last whole epoch."""
    import torch

    from reasoning_pipeline.workflows.recommendation.phases import pretrained

    histories, table = items_of(context)
    profiles, centroids = profiles_of(context, histories, table)
    torch.manual_seed(context.seed)
    weights, result = pretrained(config, context, histories, table.vectors_NX, profiles)
    about = About(kind="sasrec", sees=config.sees, size=config.size, causal=config.causal)
    output = context.fresh_output()
    Bundle(about, histories, table.vectors_NX, histories.counts_N, centroids, weights).save(output)
    context.copy_metrics(output)
    return StageOutcome(output, result)
