"""A second batch of logs continues a published system: what is kept, what may replace it, and what decides.

While the number of clusters stays, centroids stay (stages/cluster_logs.py), and each cluster's module has to be beaten:
an expert by a win rate of 0.03 more, a critic by a held-out loss of more than 0.2 nats a token less (arXiv 2602.06470).
The paper trains an expert on from where it was, and anew on all logs where that gains too little; here the challenger
is trained anew on all logs at once. Both are held against logs that no module of the earlier system has learned from.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.workflows.user_logs.clusters import Grouping, split

REPLACE, LOWER_LOSS = 0.03, 0.2
Role = Literal["expert", "critic"]
LEARNED_FILE = "learned.json"
INCUMBENT = 0
"""The epoch of a module that another step trained."""


@dataclass(frozen=True)
class Before:
    """The earlier system, as far as a batch continues it."""

    folder: Path
    learned: frozenset[str] = frozenset()
    """Logs that its modules were trained on."""

    @classmethod
    def of(cls, folder: Path | None, now: Grouping) -> Before | None:
        """None where nothing is continued, or the clusters are others. Raises DataError for clusters that continue
        another system than this."""
        if folder is None or now.continues is None:
            return None
        if now.continues != folder.name:
            raise DataError(
                f"the clusters continue {now.continues}, and `before` names {folder.name}",
                remedy="name the same system in both steps",
            )
        file = folder / LEARNED_FILE
        if not file.is_file():
            raise DataError(f"{folder}: no {LEARNED_FILE}, so nobody knows what it has learned from",
                            remedy="publish it again (`run --until` its step)")  # fmt: skip
        return cls(folder, frozenset(json.loads(file.read_text(encoding="utf-8"))))

    def adapter(self, role: Role, cluster: int) -> Path | None:
        """What answers there now; None where nothing does."""
        path = adapter_place(self.folder, role, cluster)
        return path if path.is_dir() else None


def adapter_place(system: Path, role: Role, cluster: int | None) -> Path:
    return system / "adapters" / f"{role}-{cluster}"


def save_learned(system: Path, learned: Sequence[Iterable[str] | None]) -> None:
    """Of every module; nothing where one does not know, so that nobody takes a part for the whole."""
    if all(names is not None for names in learned):
        write_json(system / LEARNED_FILE, sorted({name for names in learned for name in names or ()}))


def clearly_better(loss: float, incumbent: float) -> bool:
    """Whether a critic may replace the one that is there, by their losses on the same held-out logs."""
    return loss < incumbent - LOWER_LOSS


def parted(members: Sequence[str], learned: Collection[str], seed: int, share: float) -> tuple[list[str], list[str]]:
    """(trained on, held out) of a cluster's logs: what was learned from before is not held out, unless all was."""
    fresh = [name for name in members if name not in learned]
    if len(fresh) < 2:
        fresh = list(members)
    train, held = split(fresh, seed, share)
    return [*(name for name in members if name not in fresh), *train], held
