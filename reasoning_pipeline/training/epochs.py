"""Epochs with early stopping, for models so small that a trainer would be in the way; resumes where it was killed.

An epoch's order and dropout follow from (seed, epoch), so a resumed step computes what an uninterrupted one would have.
The best epoch by validation is what remains.
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
from reasoning_pipeline.training.pretraining import restore, save_point


@dataclass
class Progress:
    epoch: int = 0
    best: float | None = None
    """Validation of the best epoch; of the start where that was measured."""
    best_epoch: int = 0
    history: list[float] = field(default_factory=list)


def train_epochs(
    context: StageContext,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int,
    patience: int,
    losses: Callable[[np.random.Generator], Iterator[Tensor]],
    validate: Callable[[], float],
    measure: str,
    clip: float,
    from_start: bool = False,
) -> dict[str, Any]:
    """Train in place and leave the best epoch's weights; figures for the record, with the seconds of all attempts.

    Args:
        patience: Epochs without a better validation before training ends.
        losses: The mean losses of one epoch's batches, each in nats; what it draws, it draws from the generator.
        validate: More is better.
        measure: What metrics and figures call it.
        clip: Longest gradient, L2 over all weights.
        from_start: Whether what is there before the first epoch competes too.
    """
    progress, best = Progress(), copy.deepcopy(model.state_dict())
    if state := restore(context, model, optimizer):
        progress, best = Progress(**state["progress"]), state["best"]
    elif from_start:
        progress.best = validate()
    metrics = context.start_metrics(total_steps=epochs, resumed_at=progress.epoch)
    while progress.epoch < epochs and progress.epoch - progress.best_epoch < patience:
        seed = seed_from(f"{context.seed}/epoch/{progress.epoch}")
        torch.manual_seed(seed)
        model.train()
        total, batches = 0.0, 0
        for loss in losses(np.random.default_rng(seed)):
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            total, batches = total + float(loss.detach()), batches + 1
            context.stop_if_asked()  # the epoch that is cut off is done again
        model.eval()
        found = validate()
        progress.epoch += 1
        progress.history.append(found)
        if progress.best is None or found > progress.best:
            progress.best, progress.best_epoch, best = found, progress.epoch, copy.deepcopy(model.state_dict())
        metrics.write(progress.epoch, loss=total / max(batches, 1), **{measure: found})
        metrics.sync()
        save_point(context, progress.epoch, model, optimizer, {"progress": vars(progress), "best": best})
    metrics.close()
    model.load_state_dict(best)
    model.eval()
    return {
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        measure: progress.best,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "seconds": round(metrics.seconds, 2),
    }
