"""Which module answers for a cluster: wins of an adapter over the base, which epoch, and the table of decisions.

A win on one held-out log is 1 where the judge scores the adapter's answer above the base's, 0.5 where equal, else 0;
and 0 whatever the judge says where the answer has fallen apart: smoothed BLEU-4 against the base's answer below 0.05,
or shorter than a tenth of it. BLEU guards against collapse here, it does not measure quality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from reasoning_pipeline.statistics.scores import estimate
from reasoning_pipeline.statistics.texts import bleu4
from reasoning_pipeline.workflows.user_logs.settings import GAP, WIN_RATE

Path = Literal["primary", "reflective", "base"]
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


def best_epoch(wins: Mapping[int, Sequence[float | None]], rule: Literal["best", "last"] = "best") -> int | None:
    """The epoch whose answers win most on the selection split, the earliest of equals: a later one has only moved
    further from the base. None where no epoch was scored."""
    if rule == "last":
        return max(wins, default=None)
    rates = {epoch: found.rate for epoch, w in wins.items() if (found := win_rate(w)).rate is not None}
    return max(sorted(rates), key=lambda epoch: rates[epoch] or 0.0) if rates else None


def decide(gap: float | None, rate: float | None, *, gap_threshold: float = GAP, accept: float = WIN_RATE) -> Path:
    """The table: primary only where the gap is low (at most the threshold, or not measured) and the expert won strictly
    more than `accept`; else reflective.

    Example: decide(0.2, 0.54) == "primary"; decide(0.2, 0.53) == decide(0.46, 0.9) == decide(0.2, None) == "reflective"
    """
    low = gap is None or gap <= gap_threshold
    return "primary" if low and rate is not None and rate > accept else "reflective"
