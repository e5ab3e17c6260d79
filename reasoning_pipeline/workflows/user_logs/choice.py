"""Which module answers for a cluster: wins of an adapter over the base, which epoch, and the table of decisions.

A win on one held-out log is 1 where the judge scores the adapter's answer above the base's, 0.5 where equal, else 0;
and 0 whatever the judge says where the answer has fallen apart: smoothed BLEU-4 against the base's answer below 0.05,
or shorter than a tenth of it. BLEU guards against collapse here, it does not measure quality.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.statistics.scores import estimate
from reasoning_pipeline.statistics.texts import bleu4
from reasoning_pipeline.workflows.user_logs.online import INCUMBENT, REPLACE
from reasoning_pipeline.workflows.user_logs.settings import GAP, WIN_RATE

EXPERTS_FILE, CRITICS_FILE = "experts.json", "critics.json"
ROUNDING = 1e-9
Way = Literal["primary", "reflective", "base"]
EpochRule = Literal["best", "last"]
BLEU, LENGTH = 0.05, 0.1


def collapsed(answer: str, base: str) -> bool:
    """Whether an answer has fallen apart, by the two guards."""
    return len(answer.strip()) < LENGTH * len(base.strip()) or not answer.strip() or bleu4(answer, base) < BLEU


def win(score: float | None, base_score: float | None, answer: str, base: str) -> float | None:
    """None where the judge could score neither: absence is not zero. An answer that alone could not be scored loses."""
    if collapsed(answer, base):
        return 0.0
    if score is None or base_score is None:
        return None if base_score is None else 0.0
    return 1.0 if score > base_score else 0.5 if score == base_score else 0.0


@dataclass(frozen=True, kw_only=True)
class WinRate:
    """Example: WinRate(rate=0.61, low=0.47, high=0.75, logs=36)."""

    rate: float | None
    low: float | None
    high: float | None
    """95 % over the held-out logs; Wilson's interval where nearly all or none are won."""
    logs: int


def win_rate(wins: Sequence[float | None]) -> WinRate:
    """Over the logs that could be compared."""
    found = estimate([[w] for w in wins if w is not None])
    if found is None:
        return WinRate(rate=None, low=None, high=None, logs=0)
    return WinRate(rate=found.mean, low=found.low, high=found.high, logs=found.problems)


def best_epoch(wins: Mapping[int, Sequence[float | None]], rule: EpochRule = "best") -> int | None:
    """The epoch whose answers win most on the selection split, the earliest of equals: a later one has only moved
    further from the base. None where no epoch was scored."""
    if rule == "last":
        return max(wins, default=None)
    rates = {epoch: found.rate for epoch, w in wins.items() if (found := win_rate(w)).rate is not None}
    return max(sorted(rates), key=lambda epoch: rates[epoch] or 0.0) if rates else None


def decide(gap: float | None, rate: float | None, *, gap_threshold: float = GAP, accept: float = WIN_RATE) -> Way:
    """The table: primary only where the gap is low (at most the threshold, or not measured) and the expert won strictly
    more than `accept`; else reflective.

    Example: decide(0.2, 0.54) == "primary"; decide(0.2, 0.53) == decide(0.46, 0.9) == decide(0.2, None) == "reflective"
    """
    low = gap is None or gap <= gap_threshold
    return "primary" if low and rate is not None and rate > accept else "reflective"


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
