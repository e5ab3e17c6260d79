"""What must be computed: floating-point operations of training and scoring, and the time that writing rollouts takes.

Operations are counted as usual: a multiplication and an addition for every parameter that a token is multiplied with,
so 2N forward, 6N with the backward pass and 8N where checkpointing computes the forward pass twice (Kaplan et al.,
arXiv 2001.08361, section 2.1; Narayanan et al., arXiv 2104.04473, appendix), and the attention's share on top.
Decoding reads all weights, and the keys and values of every running rollout, for each token: it is bound by memory
bandwidth (Pope et al., arXiv 2211.05102), or, where little is to be read, by the time that a step takes at all.
"""

from __future__ import annotations

from dataclasses import dataclass

from reasoning_pipeline.estimates.lengths import POINTS, Lengths
from reasoning_pipeline.estimates.shapes import ModelShape

DECODING_EFFICIENCY = 0.6
"""Share of the peak bandwidth that decoding reaches; between two scheduler steps the device also waits."""
LATENCY_S_A_LAYER = 9e-5
"""Shortest time of a decoding step, launches and scheduling: 2.5 ms with 28 layers. Assumed, not measured."""


def forward_flops(shape: ModelShape, tokens: float, mean_length: float) -> float:
    """Operations of one forward pass over `tokens` tokens in rows of `mean_length`.

    Attention: queries with keys and weights with values, 2 x 2 x width a pair of tokens, half of them masked.
    """
    attention = 2 * shape.layers * shape.query_width * mean_length
    return tokens * (2 * shape.matrix_parameters + attention)


def training_flops(shape: ModelShape, tokens: float, mean_length: float, *, checkpointing: bool) -> float:
    """Forward and backward, with everything computed again where checkpointing is on: 3 or 4 forward passes."""
    return (4 if checkpointing else 3) * forward_flops(shape, tokens, mean_length)


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """The servers that write rollouts.

    Example: eight H100 (3,350 GB/s) with a Qwen3-1.7B each (3.4 GB in bfloat16) decode at most 0.6 x 3,350 / 3.4 = 590
    steps a second, and each step gives every running rollout one token.
    """

    shape: ModelShape
    replicas: int
    tensor_parallel: int
    precision_bytes: int
    cache_tokens: int
    """Of one replica's key-value cache."""
    max_sequences: int
    bandwidth_gbs: float
    flops: float
    """Operations a second that one device reaches."""

    def seconds(self, rollouts: int, lengths: Lengths, prompt_tokens: float) -> float:
        """Time for one batch: a server is full until its last rollouts, which end one after the other."""
        here = -(-rollouts // self.replicas)
        fits = int(self.cache_tokens // (prompt_tokens + lengths.mean))
        together = max(1, min(here, self.max_sequences, fits))
        context = prompt_tokens + lengths.mean / 2
        bulk = (here - together) * lengths.mean / together * self.step_seconds(together, context)
        points = min(together, POINTS)
        ends = [*lengths.of(points)[:-1], lengths.quantile(1 - 0.5 / rollouts)]  # the longest of all servers'
        draining, written = 0.0, 0.0
        for at, end in enumerate(ends):
            alive = together * (points - at) / points
            draining += (end - written) * self.step_seconds(alive, prompt_tokens + (written + end) / 2)
            written = end
        return bulk + draining

    def step_seconds(self, alive: float, context: float) -> float:
        """One token for each of the rollouts that a server is writing: reading, computing or the step itself."""
        bandwidth = self.bandwidth_gbs * 1e9 * DECODING_EFFICIENCY * self.tensor_parallel
        weights = self.shape.parameters * self.precision_bytes
        keys_values = self.shape.kv_bytes_per_token(self.precision_bytes) * context
        reading = (weights + alive * keys_values) / bandwidth
        computing = alive * 2 * self.shape.matrix_parameters / (self.flops * self.tensor_parallel)
        return max(reading, computing, LATENCY_S_A_LAYER * self.shape.layers)
