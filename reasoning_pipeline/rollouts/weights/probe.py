"""The probe: a few fixed token sequences whose log-probabilities say whether two places compute with the same weights.

A push answers "200" whether or not the weights are in use (seen: vLLM on CPUs keeps multiplying with an old packed
copy). So after every push both sides score the probe, and the difference must stay within a tolerance (proof.py). A
published checkpoint carries the scores its trainer computed, so that a server that loads it is proved without torch.

In float32 the two sides agree to the sixth digit, whatever is scored: random tokens, and their largest difference. In
bfloat16 each logit is rounded to eight bits on either side, so that single tokens differ by tenths of a nat and the
largest of a few says little. There the probe is text that the model itself would write, at least 64 tokens of it, and
what counts is their root mean square, against what the first push showed (docs/rollout_server.md has both rates).
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
"""What is allowed (nats), by the server's precision: of the largest difference in float32, measured at 5e-7 between
transformers and vLLM; of the root mean square in bfloat16, before a first push has said what is usual."""
USUAL, LEAST_TOLERANCE = 3.0, 0.02
"""In bfloat16, from the second push on: so many times what the first one showed, and never less than this (nats)."""
BROKEN = 0.5
"""Root mean square in bfloat16 (nats) that no rounding explains, even where every tensor is held to the bit."""
WRITTEN, STARTS, JUDGED = 12, 8, 64
"""Tokens that the model writes after each start of two random ones in bfloat16; how many are needed to judge by."""
IMPROBABLE = math.log(1e-3)
"""Tokens below are not judged where enough others are: rounding moves their logarithm most and says least."""


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
    return max((abs(a - b) for a, b in _pairs(ours, theirs)), default=0.0)


def typical_difference(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> float:
    """Root mean square over the tokens that are probable to us, over all where those are few; in nats. NaN on either
    side counts as infinite."""
    pairs = _pairs(ours, theirs)
    probable = [pair for pair in pairs if pair[0] >= IMPROBABLE]
    judged = probable if len(probable) >= JUDGED else pairs
    return math.sqrt(sum((a - b) ** 2 for a, b in judged) / max(len(judged), 1))


DIFFERENCE = {"float32": largest_difference, "bfloat16": typical_difference}
"""What is held against the tolerance."""


def tolerance(precision: str, usual: float | None) -> float:
    """`usual`: what the first push of this trainer showed; None before it."""
    if precision == "float32" or usual is None:
        return TOLERANCE[precision]
    return min(TOLERANCE[precision], max(LEAST_TOLERANCE, USUAL * usual))


def _pairs(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    pairs = [pair for rows in zip(ours, theirs, strict=True) for pair in zip(*rows, strict=True)]
    return [(0.0, math.inf) if math.isnan(a - b) else (a, b) for a, b in pairs]
