"""The probe: a few fixed token sequences whose log-probabilities say whether two places compute with the same weights.

A push answers "200" whether or not the weights are in use (seen: vLLM on CPUs keeps multiplying with an old packed
copy). So after every push both sides score the probe, and the largest difference must stay within a tolerance
(proof.py). A published checkpoint carries the scores its trainer computed, so that a server that loads it is proved
without torch.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

PROBE_FILE = "probe.json"
SEQUENCES, LENGTH = 4, 24
SHORT_LENGTH = 6
"""One sequence this long for a model above LARGE parameters, where a forward pass of the longer probe would cost more
than the push. It still passes through every weight matrix, at several positions, so that attention has something to
choose from; what it looks at less is the embedding, whose rows the checksums cover."""
LARGE = 20_000_000
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.25}
"""Largest allowed difference of one token's log-probability (nats), by the server's precision. float32 was measured
at 5e-7 between transformers and vLLM; bfloat16 keeps 8 bits of mantissa, about 0.1 nats at improbable tokens."""


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


def probe_sequences(vocabulary_size: int, parameters: int = 0) -> list[list[int]]:
    """Fixed pseudo-random token ids; any id below `vocabulary_size` may occur, so every row of the embedding counts."""
    rng = random.Random(f"probe/{vocabulary_size}")
    count, length = (SEQUENCES, LENGTH) if parameters <= LARGE else (1, SHORT_LENGTH)
    return [[rng.randrange(vocabulary_size) for _ in range(length)] for _ in range(count)]


def largest_difference(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> float:
    """Over all tokens, in nats. NaN on either side counts as infinite."""
    worst = 0.0
    for a_row, b_row in zip(ours, theirs, strict=True):
        for a, b in zip(a_row, b_row, strict=True):
            difference = abs(a - b)
            worst = max(worst, difference) if not math.isnan(difference) else float("inf")
    return worst
