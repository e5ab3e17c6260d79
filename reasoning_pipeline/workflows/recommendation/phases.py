"""The two trainings: what an epoch's losses are, what is validated, what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

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
MEASURE = "validation_ndcg"


def pretrained(
    config: Pretraining,
    context: StageContext,
    histories: Histories,
    text_NX: np.ndarray,
    profiles_UX: np.ndarray | None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(weights as a bundle keeps them, with the parts of the item table; figures)."""
    items = sasrec.Items(torch.from_numpy(text_NX), config.sees, config.width)
    backbone = sasrec.Backbone(config.size, causal=config.causal)
    modules = nn.ModuleDict({"catalogue": items, "backbone": backbone})
    learning = Learning(config, modules, histories, profiles_UX, config.size)
    trained, validation = sasrec.Trained(backbone, items.table(), histories.domain_N), Validation(histories, config)
    path = Path(list(enumerate(user.training for user in histories.users)), items, lambda x: backbone(items(x), x))

    def validate() -> float:
        trained.item_vectors = items.table()
        return validation.of(trained)

    result = train_epochs(
        context, modules, torch.optim.Adam(modules.parameters(), lr=config.learning_rate),
        epochs=config.epochs, patience=config.patience, clip=config.clip,
        losses=partial(learning.losses, [path]), validate=validate, measure=MEASURE,
    )  # fmt: skip
    trained.item_vectors = items.table()
    parts = {f"item_parts.{name}": part.numpy() for name, part in items.state_dict().items() if name != "ids.weight"}
    return trained.weights() | parts, result


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

    def states(adapter: sasrec.Adapter, ids: Tensor) -> Tensor:
        return adapter(backbone(vectors[ids], ids, adapter.positions))

    paths = [
        Path(
            [(n, of_domain(user.training, histories.domain_N, domain)) for n, user in enumerate(histories.users)],
            vectors.__getitem__,
            partial(states, adapter),
        )
        for domain, adapter in enumerate(adapters)
    ]
    learned = [p for p in modules.parameters() if p.requires_grad]
    return result | train_epochs(
        context, modules, torch.optim.AdamW(learned, lr=config.learning_rate, weight_decay=config.weight_decay),
        epochs=config.epochs, patience=config.patience, clip=config.clip, losses=partial(learning.losses, paths),
        validate=lambda: validation.of(trained), measure=MEASURE, from_start=True,
    )  # fmt: skip


class Path(NamedTuple):
    """One way through the model: all items in phase 1, those of one domain in phase 2."""

    rows: Sequence[tuple[int, Sequence[int]]]
    """(the user's number, items learned from)."""
    vectors_of: Callable[[Tensor], Tensor]
    """Ids [B, T] -> the items' vectors [B, T, D]."""
    states_of: Callable[[Tensor], Tensor]
    """Ids [B, T] -> the state behind each [B, T, D]."""


class Learning:
    """What both phases learn by: next items against negatives of their domain, and users near their profiles."""

    def __init__(
        self, config: Training, modules: nn.ModuleDict, histories: Histories, profiles_UX: np.ndarray | None, size: Size
    ) -> None:
        """`modules`, all that learns, gets the map from profiles to states."""
        self.config, self.domain_N, self.length = config, histories.domain_N, size.max_length
        self.profiles_UX = profiles_UX if config.align.weight else None
        if profiles_UX is not None:
            modules["profiles"] = self.project = nn.Linear(profiles_UX.shape[1], size.width)

    def losses(self, paths: Sequence[Path], rng: np.random.Generator) -> Iterator[Tensor]:
        """Of one epoch, in nats. The paths take turns, a batch each, until the longest has been seen once: their losses
        are summed, and none waits."""
        turns = []
        for path in paths:
            rows = [row for row in path.rows if len(row[1]) > 1]
            order, size = rng.permutation(len(rows)), self.config.batch
            turns.append([[rows[n] for n in order[start : start + size]] for start in range(0, len(rows), size)])
        for turn in range(max(map(len, turns))):
            parts = [self._loss(path, own[turn % len(own)], rng) for path, own in zip(paths, turns, strict=True) if own]
            yield sum(parts, start=torch.zeros(()))

    def _loss(self, path: Path, rows: Sequence[tuple[int, Sequence[int]]], rng: np.random.Generator) -> Tensor:
        """The mean over a batch's positions."""
        ids = sasrec.padded([items for _, items in rows], self.length + 1)
        wanted = ids[:, 1:]
        given = torch.where(wanted > 0, ids[:, :-1], 0)  # the last item of a row foretells nothing
        states, right = path.states_of(given), path.vectors_of(wanted)
        wrong = path.vectors_of(negatives_of(wanted, self.domain_N, rng))
        total, count = sasrec.next_item_loss(states, right, wrong, wanted > 0)
        if self.profiles_UX is None:
            return total / count
        theirs = self.project(torch.from_numpy(self.profiles_UX[[user for user, _ in rows]]))
        mine, align = sasrec.last_states(states, given), self.config.align
        apart = sasrec.alignment_loss(mine, theirs, tau=align.tau, normalise=align.normalise)
        return total / count + align.weight * apart


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


def negatives_of(wanted_BT: Tensor, domain_N: np.ndarray, rng: np.random.Generator) -> Tensor:
    """For each wanted item one of its domain, uniformly, every item of the domain among them. Ids are shifted by one; 0
    where nothing is wanted."""
    wanted = wanted_BT.numpy()
    found = np.zeros_like(wanted)
    for domain, places in enumerate(places_of(domain_N)):
        mask = (wanted > 0) & (domain_N[wanted - 1] == domain)
        found[mask] = places[rng.integers(len(places), size=int(mask.sum()))] + 1
    return torch.from_numpy(found)
