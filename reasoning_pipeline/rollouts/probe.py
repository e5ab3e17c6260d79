"""The probe: a few fixed token sequences whose log-probabilities say whether two places hold the same weights.

A push answers "200" whether or not the weights are in use (seen: vLLM on CPUs keeps multiplying with an old packed
copy). So after every push both sides score the probe, and the largest difference must stay within a tolerance. A
published checkpoint carries the scores its trainer computed, so that a server that loads it is proved without torch.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from reasoning_pipeline.errors import StaleWeights

PROBE_FILE = "probe.json"
SEQUENCES, LENGTH = 4, 24
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.25}
"""Largest allowed difference of one token's log-probability (nats), by the server's precision. float32 was measured
at 5e-7 between transformers and vLLM; bfloat16 keeps 8 bits of mantissa, about 0.1 nats at improbable tokens."""


class Scorer(Protocol):
    def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]: ...


@dataclass(frozen=True)
class Probe:
    """Token sequences, and the log-probability (nats) of each token after the first, under some weights.

    Example:
        Probe(sequences=[[5, 17, 3]], logprobs=[[-4.1, -0.2]])
    """

    sequences: list[list[int]]
    logprobs: list[list[float]]

    def save(self, folder: Path) -> None:
        (folder / PROBE_FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Probe | None:
        path = folder / PROBE_FILE
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def probe_sequences(vocabulary_size: int) -> list[list[int]]:
    """Fixed pseudo-random token ids; any id below `vocabulary_size` may occur, so every row of the embedding counts."""
    rng = random.Random(f"probe/{vocabulary_size}")
    return [[rng.randrange(vocabulary_size) for _ in range(LENGTH)] for _ in range(SEQUENCES)]


def largest_difference(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> float:
    """Over all tokens, in nats. NaN on either side counts as infinite."""
    worst = 0.0
    for a_row, b_row in zip(ours, theirs, strict=True):
        for a, b in zip(a_row, b_row, strict=True):
            difference = abs(a - b)
            worst = max(worst, difference) if not math.isnan(difference) else float("inf")
    return worst


def prove(probe: Probe, server: Scorer, precision: str, *, what: str) -> float:
    """Score the probe on the server and compare; returns the largest difference in nats.

    Raises:
        StaleWeights: Above the tolerance for this precision.
    """
    difference = largest_difference(probe.logprobs, server.score(probe.sequences))
    if difference > TOLERANCE[precision]:
        raise StaleWeights(
            f"{what}: the server does not hold these weights: log-probabilities of the probe differ by up to "
            f"{difference:.3g} nats, {TOLERANCE[precision]:.3g} are allowed in {precision}",
            remedy="rollouts would come from another policy, so nothing was generated; restart the server, and if it "
            "happens again report vLLM's version with the server's log",
        )
    return difference
