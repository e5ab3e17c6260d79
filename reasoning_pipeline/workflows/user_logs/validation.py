"""What `train_experts` and `train_critics` published: each epoch held against logs that no epoch has seen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.workflows.user_logs.choice import WinRate, best_epoch, decide, win_rate
from reasoning_pipeline.workflows.user_logs.online import INCUMBENT, REPLACE
from reasoning_pipeline.workflows.user_logs.settings import WIN_RATE

EXPERTS_FILE, CRITICS_FILE = "experts.json", "critics.json"
ROUNDING = 1e-9
EpochRule = Literal["best", "last"]


class Expert(BaseModel):
    """One cluster's adapter and what each of its epochs won.

    Example:
        Expert(cluster=0, learned=("s-1",), wins={1: {"s-3": 1.0, "s-9": 0.5}}, selection=("s-3",), acceptance=("s-9",))
    """

    model_config = ConfigDict(frozen=True)

    cluster: int
    learned: tuple[str, ...] | None = None
    """Logs that it was trained on; None where an earlier version did not note them."""
    wins: dict[int, dict[str, float | None]]
    """Epoch -> held-out log -> win. Epoch 0 is the expert of an earlier system, where there is one."""
    selection: tuple[str, ...]
    """Held-out logs by which the epoch is chosen."""
    acceptance: tuple[str, ...]
    """Those by which it is accepted: others by default, since the best of eight looks better than it is."""

    def chosen(self, rule: EpochRule = "best") -> int | None:
        """An earlier system's expert stays unless it is beaten clearly."""
        wins = {epoch: [found[name] for name in self.selection] for epoch, found in self.wins.items()}
        incumbent = win_rate(wins.pop(INCUMBENT, [])).rate
        best = best_epoch(wins, rule)
        rate = win_rate(wins[best]).rate if best is not None else None
        if incumbent is not None and (rate is None or rate < incumbent + REPLACE - ROUNDING):
            return INCUMBENT
        return best

    def accepted(self, rule: EpochRule = "best") -> WinRate:
        """What the chosen epoch won on the acceptance split."""
        epoch = self.chosen(rule)
        return win_rate([self.wins[epoch][name] for name in self.acceptance] if epoch is not None else [])


def save_experts(folder: Path, experts: Sequence[Expert]) -> None:
    write_json(folder / EXPERTS_FILE, [expert.model_dump(mode="json") for expert in experts])


def load_experts(folder: Path | None) -> dict[int, Expert]:
    """By cluster; empty where none was trained."""
    found = [] if folder is None else TypeAdapter(list[Expert]).validate_json((folder / EXPERTS_FILE).read_bytes())
    return {expert.cluster: expert for expert in found}


def load_critics(folder: Path | None) -> dict[int, dict[str, Any]]:
    """Cluster -> chosen epoch and losses; empty where none was trained."""
    if folder is None:
        return {}
    return {int(cluster): row for cluster, row in json.loads((folder / CRITICS_FILE).read_text("utf-8")).items()}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What answers for one cluster, and why.

    Example:
        Decision(cluster=0, path="primary", gap=0.2, epoch=4, accepted=WinRate(rate=0.8, low=0.6, high=0.95, logs=12))
    """

    cluster: int
    path: str
    gap: float | None
    epoch: int | None
    accepted: WinRate

    def told(self) -> str:
        """In a line."""
        won, gap = self.accepted, "not measured" if self.gap is None else f"{self.gap:.2f}"
        rate = f"won {won.rate:.2f} [{won.low:.2f}, {won.high:.2f}] of {won.logs}" if won.logs else "no expert"
        return f"cluster {self.cluster}: {self.path}; gap {gap}; {rate}"


def decisions(
    clusters: int,
    gaps: dict[int, float],
    experts: dict[int, Expert],
    *,
    gap_threshold: float,
    accept: float = WIN_RATE,
    rule: EpochRule = "best",
    verify: bool = True,
) -> list[Decision]:
    """The truth table, cluster by cluster; with `verify` off an expert is taken unseen wherever there is one."""
    found = []
    for cluster in range(clusters):
        expert, gap = experts.get(cluster), gaps.get(cluster)
        epoch, accepted = (expert.chosen(rule), expert.accepted(rule)) if expert else (None, win_rate([]))
        rate = accepted.rate if verify or epoch is None else 1.0
        path = decide(gap, rate, gap_threshold=gap_threshold, accept=accept)
        found.append(Decision(cluster=cluster, path=path, gap=gap, epoch=epoch, accepted=accepted))
    return found
