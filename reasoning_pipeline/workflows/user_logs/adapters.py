"""One adapter a cluster, as `train_experts` and `train_critics` go about it: which logs it learns from, which are held
out, and what an earlier system had there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_pipeline.run.context import StageContext
from reasoning_pipeline.workflows.user_logs.online import INCUMBENT, Before, Role, parted
from reasoning_pipeline.workflows.user_logs.settings import AdapterTraining

if TYPE_CHECKING:
    from reasoning_pipeline.training.adapters import Preference


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One cluster's adapter after each epoch."""

    learned: list[str]
    """Logs that it was trained on."""
    held: list[str]
    """Logs that no epoch has seen."""
    epochs: dict[int, Path]
    """Those of this training, and as INCUMBENT the adapter of the earlier system, where there is one."""


def train(
    config: AdapterTraining,
    context: StageContext,
    cluster: int,
    members: Sequence[str],
    row: Callable[[str], dict[str, list[int]]],
    *,
    role: Role,
    before: Before | None,
    preference: Preference | None = None,
) -> Trained:
    """The adapter of one cluster; what an interrupted step finished is not trained again.

    Args:
        row: Token ids of a log, as `train_adapter` takes them.
    """
    from reasoning_pipeline.training.adapters import train_adapter

    learned, held = parted(members, before.learned if before else (), config.split_seed, config.train_share)
    folder = context.work / "adapters" / f"cluster-{cluster}"
    epochs = train_adapter(
        config,
        context,
        [row(name) for name in learned],
        folder,
        rows_per_step=config.rows_per_step,
        max_length=config.max_length,
        preference=preference,
    )
    if before is not None and (incumbent := before.adapter(role, cluster)) is not None:
        place = folder / f"epoch-{INCUMBENT}"
        shutil.copytree(incumbent, place, dirs_exist_ok=True)
        epochs = {INCUMBENT: place, **epochs}
    return Trained(learned=learned, held=held, epochs=epochs)
