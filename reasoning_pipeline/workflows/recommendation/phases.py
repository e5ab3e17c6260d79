"""The two trainings: what an epoch's losses are, what is validated, what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reasoning_pipeline.run.context import StageContext
from reasoning_pipeline.training.epochs import train_epochs
from reasoning_pipeline.workflows.recommendation import sasrec
from reasoning_pipeline.workflows.recommendation.bundle import Scorer
from reasoning_pipeline.workflows.recommendation.histories import Histories, of_domain, places_of
from reasoning_pipeline.workflows.recommendation.ranking import Negatives, figures, ranks
from reasoning_pipeline.workflows.recommendation.settings import Pretraining, Size, Training, Tuning

VALIDATION_NEGATIVES = 100
Row = tuple[int, Sequence[int]]
"""(the user's number, items learned from)."""


def pretrained(
    config: Pretraining,
    context: StageContext,
    histories: Histories,
    text_NX: np.ndarray,
    profiles_UX: np.ndarray | None,
) -> tuple[sasrec.Trained, dict[str, np.ndarray], dict[str, Any]]:
    """(recommender, the parts of its item table as a bundle keeps them, figures)."""
    items = sasrec.Items(torch.from_numpy(text_NX), config.sees, config.width)
    backbone = sasrec.Backbone(config.size, causal=config.causal)
    modules = nn.ModuleDict({"catalogue": items, "backbone": backbone})
    learning = Learning(config, modules, histories, profiles_UX, config.size)
    rows = [(number, user.training) for number, user in enumerate(histories.users) if len(user.training) > 1]
    trained, validation = sasrec.Trained(backbone, items.table(), histories.domain_N), Validation(histories, config)

    def losses(rng: np.random.Generator) -> Iterator[Tensor]:
        for batch in batches(rows, config.batch, rng):
            yield learning.loss(batch, rng, items, lambda given: backbone(items(given), given))

    def validate() -> float:
        trained.item_vectors = items.table()
        return validation.of(trained)

    optimizer = torch.optim.Adam(modules.parameters(), lr=config.learning_rate)
    result = learning.train(context, optimizer, losses, validate)
    trained.item_vectors = items.table()
    parts = {f"item_parts.{name}": part.numpy() for name, part in items.state_dict().items() if name != "ids.weight"}
    return trained, parts, result


def tuned(
    config: Tuning, context: StageContext, histories: Histories, trained: sasrec.Trained, profiles_UX: np.ndarray | None
) -> dict[str, Any]:
    """Gives `trained` its adapters; figures, with the validation of phase 1 and of the untrained sum."""
    validation, backbone, vectors = Validation(histories, config), trained.backbone, trained.item_vectors
    result = {"validation_phase_1": validation.of(trained)}
    backbone.requires_grad_(False).eval()  # frozen: its dropout too
    adapters = [sasrec.Adapter(backbone.size, config.adapter, config.dropout) for _ in histories.domains]
    for adapter in adapters:
        adapter.positions.load_state_dict(backbone.positions.state_dict())
        adapter.positions.requires_grad_(config.train_positions)
    trained.adapters = nn.ModuleList(adapters)
    result["validation_untrained_sum"] = validation.of(trained.eval())
    modules = nn.ModuleDict({"adapters": trained.adapters})
    learning = Learning(config, modules, histories, profiles_UX, backbone.size)
    training = [(number, user.training) for number, user in enumerate(histories.users)]
    rows = [
        [(number, own) for number, items in training if len(own := of_domain(items, histories.domain_N, domain)) > 1]
        for domain in range(len(adapters))
    ]

    def states(adapter: sasrec.Adapter, given: Tensor) -> Tensor:
        return adapter(backbone(vectors[given], given, adapter.positions))

    def losses(rng: np.random.Generator) -> Iterator[Tensor]:
        # The domains take turns, a batch each, until the longer has been seen once: L_A + L_B, and neither waits.
        turns = [list(batches(own, config.batch, rng)) for own in rows]
        for turn in range(max(map(len, turns))):
            loss = torch.zeros(())
            for adapter, own in zip(adapters, turns, strict=True):
                if own:
                    batch = own[turn % len(own)]
                    loss = loss + learning.loss(batch, rng, vectors.__getitem__, partial(states, adapter))
            yield loss

    learned = [p for p in modules.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=config.learning_rate, weight_decay=config.weight_decay)
    return result | learning.train(context, optimizer, losses, lambda: validation.of(trained), from_start=True)


class Learning:
    """What both phases learn by: next items against negatives of their domain, and users near their profiles."""

    def __init__(
        self,
        config: Training,
        modules: nn.ModuleDict,
        histories: Histories,
        profiles_UX: np.ndarray | None,
        size: Size,
    ) -> None:
        """`modules`, all that learns, gets the map from profiles to states."""
        self.config, self.modules, self.domain_N, self.length = config, modules, histories.domain_N, size.max_length
        self.profiles_UX = profiles_UX if config.align.weight else None
        if profiles_UX is not None:
            modules["profiles"] = nn.Linear(profiles_UX.shape[1], size.width)

    def loss(
        self,
        rows: Sequence[Row],
        rng: np.random.Generator,
        vectors_of: Callable[[Tensor], Tensor],
        states_of: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Of a batch, in nats, the mean over positions. Ids are [B, T]; vectors, and the states behind what they stand
        for, [B, T, D]."""
        ids = sasrec.padded([items for _, items in rows], self.length + 1)
        wanted = ids[:, 1:]
        given = torch.where(wanted > 0, ids[:, :-1], 0)  # the last item of a row foretells nothing
        states, right = states_of(given), vectors_of(wanted)
        wrong = vectors_of(negatives_of(wanted, self.domain_N, rng))
        total, count = sasrec.next_item_loss(states, right, wrong, wanted > 0)
        if self.profiles_UX is None:
            return total / count
        theirs = self.modules["profiles"](torch.from_numpy(self.profiles_UX[[user for user, _ in rows]]))
        mine, align = sasrec.last_states(states, given), self.config.align
        apart = sasrec.alignment_loss(mine, theirs, tau=align.tau, normalise=align.normalise)
        return total / count + align.weight * apart

    def train(
        self,
        context: StageContext,
        optimizer: torch.optim.Optimizer,
        losses: Callable[[np.random.Generator], Iterator[Tensor]],
        validate: Callable[[], float],
        *,
        from_start: bool = False,
    ) -> dict[str, Any]:
        """Figures of the epochs."""
        config, parameters = self.config, sum(p.numel() for p in self.modules.parameters() if p.requires_grad)
        progress, seconds = train_epochs(
            context, self.modules, optimizer, epochs=config.epochs, patience=config.patience, losses=losses,
            validate=validate, measure="validation_ndcg", clip=config.clip, from_start=from_start,
        )  # fmt: skip
        found = {"epochs": progress.epoch, "best_epoch": progress.best_epoch, "validation_ndcg": progress.best}
        return found | {"parameters": parameters, "seconds": round(seconds, 2)}


class Validation:
    """Mean NDCG@10 of the validation targets of at most so many users, evenly chosen, each against the same negatives
    every time."""

    def __init__(self, histories: Histories, config: Training) -> None:
        cases, most = histories.cases("valid"), config.validation_users
        self.cases = cases[:: max(1, len(cases) // most)][:most]
        longest = max((len(case.history) for case in self.cases), default=0) + 1
        count = max(1, min(VALIDATION_NEGATIVES, min(map(len, histories.places)) - longest))
        self.negatives = Negatives(histories.domain_N, histories.counts_N, count, seed=0)

    def of(self, trained: sasrec.Trained) -> float:
        if not self.cases:
            return 0.0
        scorer = Scorer(trained.queries, trained.item_vectors[1:].numpy())
        return float(figures(ranks(scorer, self.cases, self.negatives, "uniform"), (10,))["ndcg@10"].mean())


def batches(rows: Sequence[Row], size: int, rng: np.random.Generator) -> Iterator[list[Row]]:
    """Every row once, in an order of chance."""
    order = rng.permutation(len(rows))
    for start in range(0, len(rows), size):
        yield [rows[index] for index in order[start : start + size]]


def negatives_of(wanted_BT: Tensor, domain_N: np.ndarray, rng: np.random.Generator) -> Tensor:
    """For each wanted item one of its domain, uniformly, every item of the domain among them. Ids are shifted by one; 0
    where nothing is wanted."""
    wanted = wanted_BT.numpy()
    found = np.zeros_like(wanted)
    for domain, places in enumerate(places_of(domain_N)):
        mask = (wanted > 0) & (domain_N[wanted - 1] == domain)
        found[mask] = places[rng.integers(len(places), size=int(mask.sum()))] + 1
    return torch.from_numpy(found)
