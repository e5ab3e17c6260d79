"""What must be computed: floating-point operations of training and scoring, and the time that writing rollouts takes.

Operations are counted as usual: a multiplication and an addition for every parameter that a token is multiplied with,
so 2N forward, 6N with the backward pass and 8N where checkpointing computes the forward pass twice (Kaplan et al.,
arXiv 2001.08361, section 2.1; Narayanan et al., arXiv 2104.04473, appendix), and the attention's share on top.
Decoding reads all weights, and the keys and values of every running rollout, for each token: it is bound by memory
bandwidth (Pope et al., arXiv 2211.05102).
"""

from __future__ import annotations

from dataclasses import dataclass

from reasoning_pipeline.estimates.shapes import ModelShape

DECODING_EFFICIENCY = 0.6
"""Share of the peak bandwidth that decoding reaches; between two scheduler steps the device also waits."""


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

    def seconds(self, rollouts: int, mean_tokens: float, longest: int, prompt_tokens: float) -> float:
        """Time for one batch. One of its rollouts is taken to run to the limit, alone at the end."""
        here = -(-rollouts // self.replicas)
        context = prompt_tokens + mean_tokens / 2
        together = max(1, min(here, self.max_sequences, int(self.cache_tokens // (prompt_tokens + mean_tokens))))
        bandwidth = self.bandwidth_gbs * 1e9 * DECODING_EFFICIENCY * self.tensor_parallel
        weights = self.shape.parameters * self.precision_bytes
        keys_values = self.shape.kv_bytes_per_token(self.precision_bytes) * context
        reading = (weights + together * keys_values) / bandwidth
        computing = together * 2 * self.shape.matrix_parameters / (self.flops * self.tensor_parallel)
        bulk = here * mean_tokens / together * max(reading, computing)
        tail = max(longest - mean_tokens, 0) * (weights + keys_values) / bandwidth
        return bulk + tail
