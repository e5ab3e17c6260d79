"""Which rows of an optimizer step go through the model together, and in which process.

Every process makes as many passes, since models that are divided gather in each. Rows go to passes longest first,
each to the one with the least work so far (Graham, "Bounds on multiprocessing timing anomalies", 1969), so that no
process waits for another. What comes out follows from the lengths alone: a resumed step divides as the first try did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

NOTHING = 2
"""Tokens of the row that a process without rows puts through a pass, so that it takes part in what all do together."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Of one pass in one process; a batch without a limit is one pass."""

    rows: int | None = None
    tokens: int | None = None


@dataclass(frozen=True)
class Division:
    """The passes of one optimizer step."""

    passes: list[list[list[int]]]
    """Of each pass, of each process: indices of rows, longest first; empty for a process that has none left."""
    lengths: Sequence[int]

    @property
    def processed(self) -> int:
        """Tokens that all processes compute."""
        shares = (share for part in self.passes for share in part)
        return sum(sum(self.lengths[row] for row in share) or NOTHING for share in shares)

    @property
    def measured(self) -> dict[str, float]:
        """For a row of metrics: passes; the share of processed tokens that are no tokens of rows; how much more the
        busiest process has than the mean of all."""
        rows = sum(self.lengths)
        processes = range(len(self.passes[0]))
        loads = [sum(self.lengths[row] for part in self.passes for row in part[process]) for process in processes]
        return {
            "passes": len(self.passes),
            "padding": 1 - rows / self.processed,
            "imbalance": max(loads) * len(loads) / rows - 1 if rows else 0.0,
        }


def divide(lengths: Sequence[int], *, processes: int, limit: Limit, knee: float = float("inf")) -> Division:
    """As few passes as the limit allows.

    Args:
        lengths: Tokens of each row of the global batch, prompt and completion; each within the limit.
        knee: The length at which attention is as much work as all else: a row of L tokens is L (1 + L / knee).

    Example: divide([5, 3, 2, 2], processes=2, limit=Limit(tokens=6)) has one pass, [[0], [1, 2]] and a 2 left over,
    hence two: [[[0], [1]], [[2], [3]]].
    """
    if limit.tokens is not None and max(lengths, default=0) > limit.tokens:
        raise ValueError(f"a row of {max(lengths)} tokens in passes of {limit.tokens}")
    count = -(-len(lengths) // (processes * limit.rows)) if limit.rows else 1
    if limit.tokens:
        count = max(count, -(-sum(lengths) // (processes * limit.tokens)))
    work = [length * (1 + length / knee) for length in lengths]
    while True:
        shares = _into(max(count, 1) * processes, lengths, work, limit)
        if shares is not None:
            break
        count += 1
    # Shares of like work are computed at the same time.
    shares.sort(key=lambda share: (-sum(work[row] for row in share), share))
    return Division([shares[start : start + processes] for start in range(0, len(shares), processes)], lengths)


def _into(count: int, lengths: Sequence[int], work: Sequence[float], limit: Limit) -> list[list[int]] | None:
    """So many shares of like work; None where a row finds no room."""
    shares: list[list[int]] = [[] for _ in range(count)]
    load, tokens = [0.0] * count, [0] * count
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        open_to_it = [
            share
            for share in range(count)
            if (limit.rows is None or len(shares[share]) < limit.rows)
            and (limit.tokens is None or tokens[share] + lengths[row] <= limit.tokens)
        ]
        if not open_to_it:
            return None
        least = min(open_to_it, key=lambda share: load[share])
        shares[least].append(row)
        load[least] += work[row]
        tokens[least] += lengths[row]
    return shares


def knee_of(config: Any) -> float:
    """Of a model: where 4 x query width x L / 2 operations a token and layer equal two for each of the layer's weights.

    Example: Qwen3-1.7B, 50.3 M weights a layer and queries 2,048 wide: at 24,576 tokens.
    """
    hidden, heads = config.hidden_size, config.num_attention_heads
    head = getattr(config, "head_dim", None) or hidden // heads
    keys = (getattr(config, "num_key_value_heads", None) or heads) * head
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    return (2 * hidden * (heads * head + keys) + 3 * hidden * inner) / (heads * head)
