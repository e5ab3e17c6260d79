"""Phase 1 of LLM-EDT: one SASRec learns every user's mixed sequence, both domains together, augmented or not.

The loss is BCE of the next item and one negative of its domain at every position, plus a contrastive alignment of the
user's state with the profile's vector where profiles are given (the figure has it here; the released code left it
commented out). Early stopping by NDCG@10 on validation targets. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/pretrain_recommender.yaml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.recipe.stage import Input
from reasoning_pipeline.workflows.recommendation.bundle import Bundle
from reasoning_pipeline.workflows.recommendation.clustering import centroids_of
from reasoning_pipeline.workflows.recommendation.embedding import ItemTable
from reasoning_pipeline.workflows.recommendation.histories import Histories
from reasoning_pipeline.workflows.recommendation.settings import Pretraining

if TYPE_CHECKING:
    import numpy as np

    from reasoning_pipeline.run.context import StageContext, StageOutcome


class Config(Pretraining):
    stage: Literal["pretrain_recommender"] = "pretrain_recommender"
    histories: Annotated[str, Input("histories")]
    """What is learned from, augmented or not."""
    items: Annotated[str, Input("item_table")]
    """Vectors of the same catalogue."""
    profiles: Annotated[str | None, Input("profiles")] = None
    """Of the same users, to be aligned with; without them there is no alignment."""


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes the best epoch as a bundle; a killed step continues after its last whole epoch."""
    import torch

    from reasoning_pipeline.run.context import StageOutcome
    from reasoning_pipeline.workflows.recommendation.phases import pretrained
    from reasoning_pipeline.workflows.recommendation.sasrec import Size
    from reasoning_pipeline.workflows.recommendation.trained import about

    histories, table = Histories.load(context.inputs["histories"]), ItemTable.load(context.inputs["items"])
    table.require_catalogue(histories)
    profiles, centroids = read_profiles(context, histories, table)
    torch.manual_seed(context.seed)
    size = Size(**config.model_dump(include={"width", "blocks", "heads", "dropout", "max_length"}))
    trained, extra, result = pretrained(config, context, histories, table.vectors_NX, profiles, size)
    output = context.fresh_output()
    Bundle(
        about=about(size, sees=config.sees, causal=config.causal),
        histories=histories,
        text_NX=table.vectors_NX,
        counts_N=histories.counts_N,
        centroids_KX=centroids,
        weights=trained.weights() | extra,
    ).save(output)
    context.copy_metrics(output)
    return StageOutcome(output, result)


def read_profiles(
    context: StageContext, histories: Histories, table: ItemTable
) -> tuple[np.ndarray | None, np.ndarray]:
    """([users, X] or None, centroids [K, X]). Raises IncompatibleModels where profiles are of other users or items."""
    from safetensors.numpy import load_file

    from reasoning_pipeline.base.jsonl import read_rows

    if "profiles" not in context.inputs:
        return None, centroids_of(table.vectors_NX, 10, seed=0)
    folder = context.inputs["profiles"]
    found: dict[str, Any] = load_file(folder / "profiles.safetensors")
    users = [row["user"] for row in read_rows(folder / "profiles.jsonl")]
    if users != [user.user for user in histories.users] or found["profiles"].shape[1] != table.vectors_NX.shape[1]:
        raise IncompatibleModels(
            "the profiles are of other users, or come from another item table, than the histories learned from",
            remedy="let profile_users read the same histories and the same items",
        )
    return found["profiles"], found["centroids"]
