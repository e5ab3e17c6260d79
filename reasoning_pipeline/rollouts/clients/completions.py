"""What is asked of whoever writes rollouts, and what comes back: a server, a fleet, transformers, a script in tests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reasoning_pipeline.records import Decoding, FinishReason


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """One prompt and how many completions of it. `seed` fixes all `n` of them."""

    prompt_ids: list[int]
    n: int = 1
    seed: int = 0
    expected_tokens: float | None = None
    """Of a completion, where something is known: what takes long is begun first. Changes nothing of what is drawn."""
    adapter: Path | None = None
    """The folder of a low-rank adapter over the weights that are held: for a server that was started with adapters, or
    for rollouts/adapted.py."""
    schema: str | None = None
    """A JSON schema that a completion keeps to, token by token. Servers alone see to that: models in this process write
    what they like, and whoever reads it must look."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One continuation, as the engine wrote it.

    Example:
        Completion(token_ids=[8, 27, 97], logprobs=[-0.1, -0.02, -0.0], finish="stop", policy_version="demo:3")
    """

    token_ids: list[int]
    """Includes the end token where one was written."""
    logprobs: list[float]
    """Nats, under the distribution the token was drawn from (after temperature and truncation)."""
    finish: FinishReason
    """`length` also where the context was full before `max_tokens`."""
    policy_version: str


OnResult = Callable[[int, list[Completion]], None]


class Sampler(Protocol):
    """What stages and evaluations generate with: a client, a fleet, the transformers engine, or a script in tests."""

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        decoding: Decoding,
        *,
        stop_ids: Sequence[int],
        on_result: OnResult | None = None,
    ) -> list[list[Completion]]:
        """`n` completions for each request, in the order of the requests.

        `on_result(index, completions)` is called exactly once per request as it finishes, in any order, from this
        thread; what it raises ends the generation. Raises ServerLost when the engine is gone, ServerError when it
        refuses.
        """
        ...


def longest_first(requests: Sequence[GenerationRequest]) -> list[int]:
    """Indices, by the tokens expected of a completion; where nothing is expected, as much as of the others.

    What begins last decides when all is written: it should be short (Graham, "Bounds on multiprocessing timing
    anomalies", 1969).
    """
    known = [request.expected_tokens for request in requests if request.expected_tokens is not None]
    usual = sum(known) / len(known) if known else 0.0

    def expected(index: int) -> float:
        tokens = requests[index].expected_tokens
        return usual if tokens is None else tokens

    return sorted(range(len(requests)), key=lambda index: -expected(index))


def sample_seeds(request: GenerationRequest) -> list[int]:
    """One seed for each of a request's samples, far apart, so that neighbouring requests share none."""
    return [
        int.from_bytes(hashlib.blake2b(f"{request.seed}/{sample}".encode(), digest_size=7).digest(), "big")
        for sample in range(request.n)
    ]
