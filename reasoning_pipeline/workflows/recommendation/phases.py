"""The two trainings: what an epoch's losses are, what is validated, what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reasoning_pipeline.run.context import StageContext
from reasoning_pipeline.training.epochs import Progress, train_epochs
from reasoning_pipeline.workflows.recommendation.histories import Histories, of_domain
from reasoning_pipeline.workflows.recommendation.ranking import Negatives, cases_of, figures, ranks
from reasoning_pipeline.workflows.recommendation.sasrec import (
    Adapter,
    Backbone,
    Items,
    Size,
    alignment_loss,
    last_states,
    next_item_loss,
    padded,
)
from reasoning_pipeline.workflows.recommendation.settings import Pretraining, Tuning
from reasoning_pipeline.workflows.recommendation.trained import Trained

VALIDATION_NEGATIVES = 100
MEASURE = "validation_ndcg"


def pretrained(
    config: Pretraining,
    context: StageContext,
    histories: Histories,
    text_NX: np.ndarray,
    profiles_UX: np.ndarray | None,
    size: Size,
) -> tuple[Trained, dict[str, np.ndarray], dict[str, Any]]:
    """(recommender, the parts of its item table as a bundle keeps them, figures)."""
    items = Items(torch.from_numpy(text_NX), config.sees, size.width)
    backbone = Backbone(size, causal=config.causal)
    modules = nn.ModuleDict({"catalogue": items, "backbone": backbone})
    if profiles_UX is not None:
        modules["profiles"] = nn.Linear(profiles_UX.shape[1], size.width)
    optimizer = torch.optim.Adam(modules.parameters(), lr=config.learning_rate)
    rows = [(number, list(user.training)) for number, user in enumerate(histories.users) if len(user.training) > 1]
    negatives = DomainNegatives(histories.domain_N)

    def losses(rng: np.random.Generator) -> Iterator[Tensor]:
        for chosen in batches(len(rows), config.batch, rng):
            ids = padded([rows[index][1] for index in chosen], size.max_length + 1)
            given, wanted = ids[:, :-1], ids[:, 1:]
            given = torch.where(wanted > 0, given, 0)  # the last item of a row foretells nothing
            states = backbone(items(given), given)
            total, count = next_item_loss(states, items(wanted), items(negatives.drawn(wanted, rng)), wanted > 0)
            loss = total / count
            if profiles_UX is not None and config.align.weight > 0:
                users = torch.from_numpy(profiles_UX[[rows[index][0] for index in chosen]])
                mine, theirs = last_states(states, given), modules["profiles"](users)
                align = alignment_loss(mine, theirs, tau=config.align.tau, normalise=config.align.normalise)
                loss = loss + config.align.weight * align
            yield loss

    trained, validation = (
        Trained(backbone, items.table(), histories.domain_N),
        Validation(histories, config.validation_users),
    )

    def validate() -> float:
        trained.vectors_ND = items.table()
        return validation.of(trained)

    progress, seconds = train_epochs(
        context, modules, optimizer, epochs=config.epochs, patience=config.patience, losses=losses,
        validate=validate, measure=MEASURE, clip=config.clip,
    )  # fmt: skip
    trained.vectors_ND = items.table()
    extra = {
        f"item_parts.{name}": tensor.numpy() for name, tensor in items.state_dict().items() if name != "ids.weight"
    }
    parameters = sum(p.numel() for p in modules.parameters())
    return trained, extra, _result(progress, seconds, parameters)


def tuned(
    config: Tuning,
    context: StageContext,
    histories: Histories,
    trained: Trained,
    profiles_UX: np.ndarray | None,
) -> dict[str, Any]:
    """Gives `trained` its adapters; figures, with the validation of phase 1 and of the untrained sum."""
    validation = Validation(histories, config.validation_users)
    result: dict[str, Any] = {"validation_phase_1": validation.of(trained)}
    size, backbone = trained.backbone.size, trained.backbone
    adapters = nn.ModuleList(Adapter(size, config.adapter, config.dropout) for _ in histories.domains)
    for adapter in adapters:
        assert isinstance(adapter, Adapter)
        adapter.positions.load_state_dict(backbone.positions.state_dict())
        adapter.positions.weight.requires_grad_(config.train_positions)
    trained.adapters = adapters
    modules = nn.ModuleDict({"adapters": adapters})
    if profiles_UX is not None:
        modules["profiles"] = nn.Linear(profiles_UX.shape[1], size.width)
    for parameter in backbone.parameters():
        parameter.requires_grad_(False)
    backbone.eval()  # frozen: its dropout too
    modules.eval()
    result["validation_untrained_sum"] = validation.of(trained)
    learned = [p for p in modules.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=config.learning_rate, weight_decay=config.weight_decay)
    negatives, vectors = DomainNegatives(histories.domain_N), trained.vectors_ND
    training = [user.training for user in histories.users]
    rows = [
        [(n, own) for n, row in enumerate(training) if len(own := of_domain(row, histories.domain_N, domain)) > 1]
        for domain in range(len(histories.domains))
    ]

    def losses(rng: np.random.Generator) -> Iterator[Tensor]:
        # The domains take turns, a batch each, until the longer has been seen once: L_A + L_B, and neither waits.
        turns = [list(batches(len(own), config.batch, rng)) for own in rows]
        for turn in range(max(map(len, turns))):
            loss = torch.zeros(())
            for domain, chunks in enumerate(turns):
                if not chunks:
                    continue
                chosen = [rows[domain][index] for index in chunks[turn % len(chunks)]]
                loss = loss + _domain_loss(config, trained, modules, domain, chosen, negatives, rng, profiles_UX)
            yield loss

    progress, seconds = train_epochs(
        context, modules, optimizer, epochs=config.epochs, patience=config.patience, losses=losses,
        validate=lambda: validation.of(trained), measure=MEASURE, clip=config.clip, from_start=True,
    )  # fmt: skip
    assert trained.vectors_ND is vectors
    return result | _result(progress, seconds, sum(p.numel() for p in learned))


def _domain_loss(
    config: Tuning,
    trained: Trained,
    modules: nn.ModuleDict,
    domain: int,
    chosen: list[tuple[int, list[int]]],
    negatives: DomainNegatives,
    rng: np.random.Generator,
    profiles_UX: np.ndarray | None,
) -> Tensor:
    assert trained.adapters is not None
    adapter, vectors = trained.adapters[domain], trained.vectors_ND
    assert isinstance(adapter, Adapter)
    ids = padded([row for _, row in chosen], trained.backbone.size.max_length + 1)
    given, wanted = ids[:, :-1], ids[:, 1:]
    given = torch.where(wanted > 0, given, 0)
    states = adapter(trained.backbone(vectors[given], given, adapter.positions))
    total, count = next_item_loss(states, vectors[wanted], vectors[negatives.drawn(wanted, rng)], wanted > 0)
    loss = total / count
    if profiles_UX is not None and config.align.weight > 0 and len(chosen) > 1:
        theirs = modules["profiles"](torch.from_numpy(profiles_UX[[number for number, _ in chosen]]))
        align = alignment_loss(
            last_states(states, given), theirs, tau=config.align.tau, normalise=config.align.normalise
        )
        loss = loss + config.align.weight * align
    return loss


class Validation:
    """Mean NDCG@10 of the validation targets of at most so many users, evenly chosen, each against the same negatives
    every time."""

    def __init__(self, histories: Histories, most: int) -> None:
        cases, self.domain_N = cases_of(histories, "valid"), histories.domain_N
        self.cases = cases[:: max(1, len(cases) // most)][:most]
        longest = max((len(case.history) for case in self.cases), default=0) + 1
        count = max(1, min(VALIDATION_NEGATIVES, int(np.bincount(self.domain_N).min()) - longest))
        self.negatives = Negatives(self.domain_N, histories.counts_N, count, seed=0)

    def of(self, trained: Trained) -> float:
        if not self.cases:
            return 0.0
        found = ranks(trained.scorer(), self.cases, self.negatives, "uniform", self.domain_N)
        return float(figures(found, (10,))["ndcg@10"].mean())


def batches(count: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Every index once, in an order of chance."""
    order = rng.permutation(count)
    for start in range(0, count, size):
        yield order[start : start + size]


class DomainNegatives:
    """One item of the same domain as each wanted item, uniformly, every item of the domain among them."""

    def __init__(self, domain_N: np.ndarray) -> None:
        self.domain_N = domain_N
        self.pools = [np.flatnonzero(domain_N == domain) for domain in range(int(domain_N.max()) + 1)]

    def drawn(self, wanted_BT: Tensor, rng: np.random.Generator) -> Tensor:
        """[B, T] of ids shifted by one; 0 where nothing is wanted."""
        wanted = wanted_BT.numpy()
        found = np.zeros_like(wanted)
        for domain, pool in enumerate(self.pools):
            mask = (wanted > 0) & (self.domain_N[wanted - 1] == domain)
            found[mask] = pool[rng.integers(len(pool), size=int(mask.sum()))] + 1
        return torch.from_numpy(found)


def _result(progress: Progress, seconds: float, parameters: int) -> dict[str, Any]:
    return {
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "validation_ndcg": progress.best,
        "parameters": parameters,
        "seconds": round(seconds, 2),
    }
