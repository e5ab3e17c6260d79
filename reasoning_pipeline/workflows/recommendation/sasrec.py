"""The recommender: SASRec (Kang and McAuley, arXiv 1808.09781) over item vectors from text, ids or both, and phase 2.

Differs from the released LLM-EDT code where that is a defect: the mask is causal (each position is asked for its next
item, so it must not see it), negatives come from the target's domain, position tables of phase 2 learn.
B rows, T positions, D width, X width of text vectors, N items. Item ids here are shifted by one: 0 is padding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as torch has it
from torch.nn.utils.rnn import pad_sequence

from reasoning_pipeline.workflows.recommendation.histories import of_domain
from reasoning_pipeline.workflows.recommendation.settings import About, Sees, Size


class Block(nn.Module):
    """Self-attention and a feed-forward of half the width with GELU, each with its residual and LayerNorm behind."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads, self.dropout = size.heads, size.dropout
        self.qkv, self.out = nn.Linear(size.width, 3 * size.width), nn.Linear(size.width, size.width)
        self.up, self.down = nn.Linear(size.width, size.width // 2), nn.Linear(size.width // 2, size.width)
        self.first, self.second = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        self.drop = nn.Dropout(size.dropout)

    def forward(self, x_BTD: Tensor, mask_B1TT: Tensor) -> Tensor:
        B, T, D = x_BTD.shape
        q, k, v = self.qkv(x_BTD).view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        rate = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask_B1TT, dropout_p=rate)
        x_BTD = self.first(x_BTD + self.drop(self.out(attended.transpose(1, 2).reshape(B, T, D))))
        return self.second(x_BTD + self.drop(self.down(self.drop(F.gelu(self.up(x_BTD))))))


def attention_mask(ids_BT: Tensor, *, causal: bool) -> Tensor:
    """[B, 1, T, T]: no position sees padding, nor (causal) what comes after it; padding sees itself, so that no row of
    the softmax is empty."""
    T = ids_BT.shape[1]
    seen = (ids_BT != 0)[:, None, None, :].expand(-1, 1, T, T)
    if causal:
        seen = seen & torch.ones(T, T, dtype=torch.bool, device=ids_BT.device).tril()
    return seen | torch.eye(T, dtype=torch.bool, device=ids_BT.device)


class Items(nn.Module):
    """E(v) = W2 (W1 x_v) + id_v: two linear maps of a frozen text vector without a non-linearity between, as released;
    the id term is ours, since frozen titles alone lose to popularity."""

    text_NX: Tensor

    def __init__(self, text_NX: Tensor, sees: Sees, width: int) -> None:
        super().__init__()
        self.sees = sees
        padding = torch.zeros(1, text_NX.shape[1])
        self.register_buffer("text_NX", torch.cat([padding, text_NX.float()]), persistent=False)
        if "text" in sees:
            inner = max(width, text_NX.shape[1] // 2)
            self.first = nn.Linear(text_NX.shape[1], inner, bias=False)
            self.second = nn.Linear(inner, width, bias=False)
        if "id" in sees:
            self.ids = nn.Embedding(len(text_NX) + 1, width, padding_idx=0)
            nn.init.normal_(self.ids.weight, std=0.02)
            with torch.no_grad():
                self.ids.weight[0] = 0

    def forward(self, ids: Tensor) -> Tensor:
        text = self.second(self.first(self.text_NX[ids])) if "text" in self.sees else torch.zeros(())
        return text + (self.ids(ids) if "id" in self.sees else 0)

    @torch.no_grad()
    def table(self) -> Tensor:
        """[N + 1, D], every item's vector; row 0 is padding."""
        return self(torch.arange(len(self.text_NX)))


class Backbone(nn.Module):
    """Vectors of a history -> a state at each position."""

    def __init__(self, size: Size, *, causal: bool) -> None:
        super().__init__()
        self.size, self.causal = size, causal
        self.positions = nn.Embedding(size.max_length, size.width)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.blocks))
        self.enter, self.drop = nn.LayerNorm(size.width), nn.Dropout(size.dropout)

    def forward(self, vectors_BTD: Tensor, ids_BT: Tensor, positions: nn.Embedding | None = None) -> Tensor:
        """[B, T, D]. Another position table stands in for its own in phase 2."""
        # Counted over real items, so that padding left or right gives the same.
        places_BT = ((ids_BT != 0).cumsum(1) - 1).clamp(min=0)
        x = self.drop(self.enter(vectors_BTD * self.size.width**0.5 + (positions or self.positions)(places_BT)))
        mask = attention_mask(ids_BT, causal=self.causal)
        for block in self.blocks:
            x = block(x, mask)
        return x


class Adapter(nn.Module):
    """One domain's part in phase 2: a position table, and h' = h + MLP(h) with an MLP that is zero to begin with."""

    def __init__(self, size: Size, width: int, dropout: float) -> None:
        super().__init__()
        self.positions = nn.Embedding(size.max_length, size.width)
        self.down, self.up, self.drop = nn.Linear(size.width, width), nn.Linear(width, size.width), nn.Dropout(dropout)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, states: Tensor) -> Tensor:
        return states + self.up(self.drop(F.relu(self.down(states))))


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

    def weights(self) -> dict[str, np.ndarray]:
        """As a bundle keeps them."""
        return {name: tensor.numpy() for name, tensor in self.state_dict().items()}


def last_states(states_BTD: Tensor, ids_BT: Tensor) -> Tensor:
    """[B, D]: the state at each row's last real item; of a row without one, zeros."""
    places = torch.arange(ids_BT.shape[1], device=ids_BT.device)
    last = torch.where(ids_BT != 0, places, -1).max(1).values
    found = states_BTD[torch.arange(len(ids_BT)), last.clamp(min=0)]
    return found * (last >= 0)[:, None]


def next_item_loss(
    states_BTD: Tensor, wanted_BTD: Tensor, negative_BTD: Tensor, mask_BT: Tensor
) -> tuple[Tensor, Tensor]:
    """(sum, count) of BCE(h·E(next), 1) + BCE(h·E(negative), 0) in nats, over the positions in the mask."""
    right, wrong = (states_BTD * wanted_BTD).sum(-1), (states_BTD * negative_BTD).sum(-1)
    loss_BT = F.softplus(-right) + F.softplus(wrong)
    return (loss_BT * mask_BT).sum(), mask_BT.sum()


def alignment_loss(users_BD: Tensor, profiles_BD: Tensor, *, tau: float, normalise: bool) -> Tensor:
    """Symmetric contrastive loss with soft targets, in nats: logits U P^T / tau against softmax((U U^T + P P^T) /
    (2 tau)) over rows and over columns, the mean of both cross-entropies; targets are constants. The released code
    multiplies the targets by tau: the same at its tau of 1, and the more uniform the sharper the logits below it."""
    if normalise:
        users_BD, profiles_BD = F.normalize(users_BD, dim=-1), F.normalize(profiles_BD, dim=-1)
    logits = users_BD @ profiles_BD.T / tau
    alike = ((users_BD @ users_BD.T + profiles_BD @ profiles_BD.T) / (2 * tau)).detach()
    rows = -(alike.softmax(-1) * logits.log_softmax(-1)).sum(-1).mean()
    columns = -(alike.softmax(-1) * logits.T.log_softmax(-1)).sum(-1).mean()
    return (rows + columns) / 2


def padded(rows: Sequence[Sequence[int]], length: int) -> Tensor:
    """[B, T] of ids shifted by one, padded on the right, each row's last `length` items; no row is empty."""
    return pad_sequence([torch.tensor(row[-length:]) + 1 for row in rows], batch_first=True)
