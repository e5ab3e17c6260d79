"""Phase 2 of LLM-EDT: the backbone is frozen, and each domain learns a position table and a small adapter of its own.

The frozen backbone reads the user's items of one domain alone; h' = h + MLP(h), BCE of the next item inside the domain,
summed over both. The served score is h·E + h'·E: already the untrained sum (`epochs: 0`) differs from phase 1, and most
of what phase 2 earned in trials was that. A missing phase-1 checkpoint is an error. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/tune_domains.yaml
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal

from pydantic import Field

from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.recipe.stage import ModelRef
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.workflows.recommendation.bundle import Bundle
from reasoning_pipeline.workflows.recommendation.embedding import items_of, profiles_of
from reasoning_pipeline.workflows.recommendation.histories import of_domain
from reasoning_pipeline.workflows.recommendation.settings import OfItems, Training


class Config(Training, OfItems):
    stage: Literal["tune_domains"] = "tune_domains"
    policy: ModelRef
    """Phase 1."""
    learning_rate: float = Field(1e-3, gt=0)
    """AdamW's. The released 1e-4 is made for up to 300 epochs."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's."""
    clip: float = Field(0.1, gt=0)
    """Longest gradient, L2 over all weights."""
    adapter: int = Field(64, ge=1)
    """Inner width of each domain's MLP."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Of what is trained, while it is trained."""
    train_positions: bool = True
    """False is the released behaviour, except that the tables then keep the global ones instead of chance."""


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes backbone and adapters together; every tensor of the backbone is what phase 1 published."""
    import torch
    from torch import Tensor, nn

    from reasoning_pipeline.training.epochs import train_epochs
    from reasoning_pipeline.workflows.recommendation.learning import Learning, Path, Validation
    from reasoning_pipeline.workflows.recommendation.sasrec import Adapter

    before = Bundle.load(context.inputs["policy"])
    trained = before.trained()
    histories, table = items_of(context)
    if histories.items_digest != before.histories.items_digest:
        raise IncompatibleModels(
            "the histories are of another catalogue than phase 1 learned", remedy="let both read the same histories"
        )
    profiles, _ = profiles_of(context, histories, table)
    validation, backbone, vectors = Validation(histories, config), trained.backbone, trained.item_vectors
    result = {"validation_phase_1": validation.of(trained)}
    torch.manual_seed(context.seed)
    adapters = [Adapter(backbone.size, config.adapter, config.dropout) for _ in histories.domains]
    for adapter in adapters:
        adapter.positions.load_state_dict(backbone.positions.state_dict())
        adapter.positions.requires_grad_(config.train_positions)
    trained.adapters = nn.ModuleList(adapters)
    backbone.requires_grad_(False)  # frozen, and never in training mode: no dropout either
    result["validation_untrained_sum"] = validation.of(trained.eval())
    modules = nn.ModuleDict({"adapters": trained.adapters})
    learning = Learning(config, modules, histories, profiles, backbone.size)

    def states(adapter: Adapter, ids: Tensor) -> Tensor:
        return adapter(backbone(vectors[ids], ids, adapter.positions))

    paths = []
    for domain, adapter in enumerate(adapters):
        rows = [of_domain(user.training, histories.domain_N, domain) for user in histories.users]
        paths.append(Path(rows, vectors.__getitem__, partial(states, adapter)))
    learned = [p for p in modules.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=config.learning_rate, weight_decay=config.weight_decay)
    result |= train_epochs(
        context, modules, optimizer, epochs=config.epochs, patience=config.patience, clip=config.clip, from_start=True,
        losses=partial(learning.losses, paths), validate=lambda: validation.of(trained), measure="validation_ndcg",
    )  # fmt: skip
    about, output = before.about.model_copy(update={"adapter": config.adapter}), context.fresh_output()
    replace(before, about=about, histories=histories, weights=before.weights | trained.weights()).save(output)
    context.copy_metrics(output)
    return StageOutcome(output, result)
