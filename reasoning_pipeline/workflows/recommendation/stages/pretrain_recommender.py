"""Phase 1 of LLM-EDT: one SASRec learns every user's mixed sequence, both domains together, augmented or not.

The loss is BCE of the next item and one negative of its domain at every position, plus a contrastive alignment of the
user's state with the profile's vector where profiles are given (the figure has it here; the released code left it
commented out). Early stopping by NDCG@10 on validation targets. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/pretrain_recommender.yaml
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.workflows.recommendation.bundle import Bundle
from reasoning_pipeline.workflows.recommendation.embedding import items_of, profiles_of
from reasoning_pipeline.workflows.recommendation.settings import About, OfItems, Sees, Size, Training


class Config(Size, Training, OfItems):
    stage: Literal["pretrain_recommender"] = "pretrain_recommender"
    sees: Sees = "text+id"
    """What an item's vector comes from; the released code has `text`."""
    causal: bool = True
    """False is the released behaviour: each position sees the item that it is asked for."""


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes the best epoch as a bundle; a killed step continues after its last whole epoch."""
    import torch
    from torch import nn

    from reasoning_pipeline.training.epochs import train_epochs
    from reasoning_pipeline.workflows.recommendation import sasrec
    from reasoning_pipeline.workflows.recommendation.learning import Learning, Path, Validation

    histories, table = items_of(context)
    profiles, centroids = profiles_of(context, histories, table)
    size = Size(**config.model_dump(include=set(Size.model_fields)))
    torch.manual_seed(context.seed)
    items = sasrec.Items(torch.from_numpy(table.vectors_NX), config.sees, size.width)
    backbone = sasrec.Backbone(size, causal=config.causal)
    modules = nn.ModuleDict({"catalogue": items, "backbone": backbone})
    learning, validation = Learning(config, modules, histories, profiles, size), Validation(histories, config)
    trained = sasrec.Trained(backbone, items.table(), histories.domain_N)
    path = Path([user.training for user in histories.users], items, lambda ids: backbone(items(ids), ids))

    def validate() -> float:
        trained.item_vectors = items.table()
        return validation.of(trained)

    optimizer = torch.optim.Adam(modules.parameters(), lr=config.learning_rate)
    result = train_epochs(
        context, modules, optimizer, epochs=config.epochs, patience=config.patience, clip=config.clip,
        losses=partial(learning.losses, [path]), validate=validate, measure="validation_ndcg",
    )  # fmt: skip
    trained.item_vectors = items.table()
    parts = {f"item_parts.{name}": part.numpy() for name, part in items.state_dict().items() if name != "ids.weight"}
    about = About(kind="sasrec", sees=config.sees, size=size, causal=config.causal)
    output, weights = context.fresh_output(), trained.weights() | parts
    Bundle(about, histories, table.vectors_NX, histories.counts_N, centroids, weights).save(output)
    context.copy_metrics(output)
    return StageOutcome(output, result)
