"""A trained recommender in torch: from a bundle's weights and back, and the one form in which it scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from reasoning_pipeline.workflows.recommendation.histories import of_domain
from reasoning_pipeline.workflows.recommendation.ranking import Scorer
from reasoning_pipeline.workflows.recommendation.sasrec import Adapter, Backbone, last_states, padded
from reasoning_pipeline.workflows.recommendation.settings import About, Size


class Trained(nn.Module):
    """Backbone, finished item table, and phase 2's adapters where they have been trained."""

    item_vectors: Tensor
    """[N + 1, D]; row 0 is padding."""

    def __init__(
        self, backbone: Backbone, item_vectors: Tensor, domain_N: np.ndarray, adapters: Sequence[Adapter] = ()
    ) -> None:
        super().__init__()
        self.backbone, self.domain_N, self.adapters = backbone, domain_N, nn.ModuleList(adapters)
        self.register_buffer("item_vectors", item_vectors)

    @classmethod
    def of(cls, about: About, size: Size, domain_N: np.ndarray, weights: Mapping[str, np.ndarray]) -> Trained:
        tensors = {name: torch.from_numpy(weight) for name, weight in weights.items()}
        count = 0 if about.adapter is None else int(domain_N.max()) + 1
        adapters = [Adapter(size, about.adapter or 0, 0.0) for _ in range(count)]
        found = cls(Backbone(size, causal=about.causal), tensors["item_vectors"], domain_N, adapters)
        found.load_state_dict({name: tensors[name] for name in found.state_dict()})
        return found.eval()

    def queries(self, histories: Sequence[tuple[int, ...]], domains: Sequence[int]) -> np.ndarray:
        """h, and in phase 2 h + h' with h' from the history's items of the domain asked for alone (arXiv 2511.19931's
        released code; serving adds both scores, which is the score of the sum)."""
        with torch.inference_mode():
            total_UD = self._last(histories)
            for domain, adapter in enumerate(self.adapters):
                assert isinstance(adapter, Adapter)
                own = {n: of_domain(histories[n], self.domain_N, domain) for n, d in enumerate(domains) if d == domain}
                rows = {n: row for n, row in own.items() if row}
                if rows:
                    total_UD[list(rows)] += adapter(self._last([*rows.values()], adapter.positions))
            return np.asarray(total_UD.numpy())

    def _last(self, histories: Sequence[Sequence[int]], positions: nn.Embedding | None = None) -> Tensor:
        """[B, D]: the state behind each history of item indices."""
        ids_BT = padded(histories, self.backbone.size.max_length)
        return last_states(self.backbone(self.item_vectors[ids_BT], ids_BT, positions), ids_BT)

    def scorer(self) -> Scorer:
        return Scorer(self.queries, self.item_vectors[1:].numpy())

    def weights(self) -> dict[str, np.ndarray]:
        """As a bundle keeps them."""
        return {name: tensor.numpy() for name, tensor in self.state_dict().items()}
