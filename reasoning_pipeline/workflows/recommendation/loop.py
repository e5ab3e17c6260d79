"""Epochs with early stopping, for models so small that a trainer would be in the way; resumes where it was killed.

An epoch's order, negatives and dropout follow from (seed, epoch), so a resumed step computes what an uninterrupted one
would have. The best epoch by validation is what remains.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reasoning_pipeline.base.fingerprint import seed_from
from reasoning_pipeline.run.context import StageContext
from reasoning_pipeline.training.pretraining import write_point
from reasoning_pipeline.training.resume import last_complete


@dataclass
class Progress:
    epoch: int = 0
    best: float | None = None
    """NDCG@10 on validation of the best epoch; of the start where that was measured."""
    best_epoch: int = 0
    history: list[float] = field(default_factory=list)


def train(
    context: StageContext,
    modules: nn.ModuleDict,
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int,
    patience: int,
    losses: Callable[[np.random.Generator], Iterator[Tensor]],
    validate: Callable[[], float],
    clip: float,
    from_start: bool,
) -> tuple[Progress, float]:
    """Train in place and leave the best epoch's weights; (progress, seconds over all attempts).

    Args:
        losses: The mean losses of one epoch's batches, each in nats.
        from_start: Whether what is there before the first epoch competes too.
    """
    progress = Progress()
    best = copy.deepcopy(modules.state_dict())
    if (point := last_complete(context.work / "checkpoints")) is not None:
        state = torch.load(point / "state.pt", weights_only=True)
        modules.load_state_dict(state["modules"])
        optimizer.load_state_dict(state["optimizer"])
        progress, best = Progress(**state["progress"]), state["best"]
    elif from_start:
        progress.best = validate()
    metrics = context.start_metrics(total_steps=epochs, resumed_at=progress.epoch)
    while progress.epoch < epochs and progress.epoch - progress.best_epoch < patience:
        seed = seed_from(f"{context.seed}/epoch/{progress.epoch}")
        torch.manual_seed(seed)
        modules.train()
        total, batches = 0.0, 0
        for loss in losses(np.random.default_rng(seed)):
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(modules.parameters(), clip)
            optimizer.step()
            total, batches = total + float(loss.detach()), batches + 1
            context.stop_if_asked()  # the epoch that is cut off is done again
        modules.eval()
        found = validate()
        progress.epoch += 1
        progress.history.append(found)
        if progress.best is None or found > progress.best:
            progress.best, progress.best_epoch, best = found, progress.epoch, copy.deepcopy(modules.state_dict())
        metrics.write(progress.epoch, loss=total / max(batches, 1), validation_ndcg=found)
        metrics.sync()
        _save(context, progress, modules, optimizer, best)
    metrics.close()
    modules.load_state_dict(best)
    modules.eval()
    return progress, metrics.seconds


def _save(
    context: StageContext,
    progress: Progress,
    modules: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: dict[str, Any],
) -> None:
    state = {"modules": modules.state_dict(), "optimizer": optimizer.state_dict(), "best": best}
    write_point(context, progress.epoch, state | {"progress": vars(progress)})


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
