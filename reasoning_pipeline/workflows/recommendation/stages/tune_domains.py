"""Phase 2 of LLM-EDT: the backbone is frozen, and each domain learns a position table and a small adapter of its own.

The frozen backbone reads the user's items of one domain alone; h' = h + MLP(h), BCE of the next item inside the domain,
summed over both. The served score is h·E + h'·E: already the untrained sum (`epochs: 0`) differs from phase 1, and most
of what phase 2 earned in trials was that. A missing phase-1 checkpoint is an error. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/tune_domains.yaml
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.recipe.stage import ModelRef
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.workflows.recommendation.bundle import Bundle
from reasoning_pipeline.workflows.recommendation.embedding import items_of, profiles_of
from reasoning_pipeline.workflows.recommendation.settings import OfItems, Tuning


class Config(OfItems, Tuning):
    stage: Literal["tune_domains"] = "tune_domains"
    policy: ModelRef
    """Phase 1."""


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes backbone and adapters together; every tensor of the backbone is what phase 1 published."""
    import torch

    from reasoning_pipeline.workflows.recommendation.phases import tuned

    before = Bundle.load(context.inputs["policy"])
    trained = before.trained()
    histories, table = items_of(context)
    if histories.items_digest != before.histories.items_digest:
        raise IncompatibleModels(
            "the histories are of another catalogue than phase 1 learned", remedy="let both read the same histories"
        )
    profiles, _ = profiles_of(context, histories, table)
    torch.manual_seed(context.seed)
    result = tuned(config, context, histories, trained, profiles)
    about = before.about.model_copy(update={"adapter": config.adapter})
    output = context.fresh_output()
    replace(before, about=about, histories=histories, weights=before.weights | trained.weights()).save(output)
    context.copy_metrics(output)
    return StageOutcome(output, result)
