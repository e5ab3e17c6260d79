"""A trained recommender in torch: from a bundle and back, and the one form in which it scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from reasoning_pipeline.errors import RegistryError
from reasoning_pipeline.workflows.recommendation.bundle import About, Bundle
from reasoning_pipeline.workflows.recommendation.histories import of_domain
from reasoning_pipeline.workflows.recommendation.ranking import Scorer
from reasoning_pipeline.workflows.recommendation.sasrec import Adapter, Backbone, Size, last_states, padded

ITEM_VECTORS = "item_vectors"
BACKBONE = "backbone."
ADAPTERS = "adapters."


@dataclass
class Trained:
    """Backbone, finished item table, and phase 2's adapters where they have been trained."""

    backbone: Backbone
    vectors_ND: Tensor
    """[N + 1, D]; row 0 is padding."""
    domain_N: np.ndarray
    adapters: nn.ModuleList | None = None

    @classmethod
    def of(cls, bundle: Bundle) -> Trained:
        """Raises RegistryError where the bundle has no trained backbone: phase 2 never starts from a random one."""
        if bundle.about.kind != "sasrec" or ITEM_VECTORS not in bundle.weights:
            raise RegistryError(
                f"a {bundle.about.kind} recommender has no pretrained backbone",
                remedy="let `policy` name a pretrain_recommender step",
            )
        size = Size.model_validate(bundle.about.size)
        backbone = Backbone(size, causal=bundle.about.causal)
        backbone.load_state_dict(_below(BACKBONE, bundle.weights))
        found = cls(backbone.eval(), torch.from_numpy(bundle.weights[ITEM_VECTORS]), bundle.histories.domain_N)
        if bundle.about.adapter is not None:
            width = bundle.about.adapter
            found.adapters = nn.ModuleList(Adapter(size, width, 0.0) for _ in bundle.histories.domains)
            found.adapters.load_state_dict(_below(ADAPTERS, bundle.weights))
            found.adapters.eval()
        return found

    def states(self, rows: Sequence[Sequence[int]], positions: nn.Embedding | None = None) -> tuple[Tensor, Tensor]:
        """(states [B, T, D], ids [B, T]) of histories as item indices."""
        ids_BT = padded([list(row) for row in rows], self.backbone.size.max_length)
        return self.backbone(self.vectors_ND[ids_BT], ids_BT, positions), ids_BT

    def queries(self, histories: Sequence[tuple[int, ...]], domains: Sequence[int]) -> np.ndarray:
        """h, and in phase 2 h + h' with h' from the history's items of the domain asked for alone (arXiv 2511.19931's
        released code; serving adds both scores, which is the score of the sum)."""
        with torch.inference_mode():
            total_UD = last_states(*self.states(histories))
            if self.adapters is not None:
                for domain, adapter in enumerate(self.adapters):
                    rows = [of_domain(h, self.domain_N, domain) for h in histories]
                    chosen = torch.tensor([d == domain and bool(row) for d, row in zip(domains, rows, strict=True)])
                    if chosen.any():
                        assert isinstance(adapter, Adapter)
                        states, ids = self.states(
                            [r for r, c in zip(rows, chosen, strict=True) if c], adapter.positions
                        )
                        total_UD[chosen] += adapter(last_states(states, ids))
            return np.asarray(total_UD.numpy())

    def scorer(self) -> Scorer:
        return Scorer(self.queries, self.vectors_ND[1:].detach().numpy())

    def weights(self) -> dict[str, np.ndarray]:
        """As a bundle keeps them."""
        named = {BACKBONE + name: tensor for name, tensor in self.backbone.state_dict().items()}
        if self.adapters is not None:
            named |= {ADAPTERS + name: tensor for name, tensor in self.adapters.state_dict().items()}
        return {name: tensor.detach().numpy() for name, tensor in (named | {ITEM_VECTORS: self.vectors_ND}).items()}


def _below(prefix: str, weights: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): torch.from_numpy(w) for name, w in weights.items() if name.startswith(prefix)}


def about(size: Size, *, sees: str, causal: bool, adapter: int | None = None) -> About:
    return About(kind="sasrec", sees=sees, size=size.model_dump(), causal=causal, adapter=adapter)
