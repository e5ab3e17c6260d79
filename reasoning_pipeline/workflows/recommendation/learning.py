"""What both phases learn by: their losses, their negatives, and what is validated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from reasoning_pipeline.workflows.recommendation import sasrec
from reasoning_pipeline.workflows.recommendation.bundle import Scorer
from reasoning_pipeline.workflows.recommendation.histories import Histories, places_of
from reasoning_pipeline.workflows.recommendation.ranking import Negatives, figures, ranks
from reasoning_pipeline.workflows.recommendation.settings import Size, Training

VALIDATION_NEGATIVES = 100


class Path(NamedTuple):
    """A way through the model: all items in phase 1, those of one domain in phase 2."""

    rows: Sequence[Sequence[int]]
    """Of each user, the items learned from."""
    vectors_of: Callable[[Tensor], Tensor]
    """Ids [B, T] -> the items' vectors [B, T, D]."""
    states_of: Callable[[Tensor], Tensor]
    """Ids [B, T] -> the state behind each [B, T, D]."""


class Learning:
    """The losses: next items against negatives of their domain, and users near their profiles."""

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
            rows = [(user, items) for user, items in enumerate(path.rows) if len(items) > 1]
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
