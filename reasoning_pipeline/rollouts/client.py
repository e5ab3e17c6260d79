"""The client of rollout servers: token ids in, completions out, under a deadline, each with its policy version.

Speaks vLLM's OpenAI-compatible `/v1/completions` with token ids, so any vLLM server can be adopted by URL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

from reasoning_pipeline.errors import ServerError, ServerLost
from reasoning_pipeline.records import Decoding, FinishReason

POLICY_NAME = "policy"
"""The model name every server answers to, whichever checkpoint it holds."""

KEY_VARIABLE = "REASONING_PIPELINE_SERVER_KEY"
"""Environment variable with the server's key; keys are never written to a file or a log."""


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """One prompt and how many completions of it. `seed` fixes all `n` of them."""

    prompt_ids: list[int]
    n: int = 1
    seed: int = 0


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
    policy_version: str


class Sampler(Protocol):
    """What stages and evaluations generate with: the client below, the transformers engine, or a script in tests."""

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        decoding: Decoding,
        *,
        stop_ids: Sequence[int],
        on_result: Callable[[int, list[Completion]], None] | None = None,
    ) -> list[list[Completion]]:
        """`n` completions for each request, in the order of the requests.

        `on_result(index, completions)` is called once per request as it finishes, in any order, from this thread.
        Raises ServerLost when the engine is gone, ServerError when it refuses.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class ServerAddress:
    """Where a rollout server listens. The key is not part of it: see KEY_VARIABLE.

    Example:
        ServerAddress(url="http://127.0.0.1:43127")
    """

    url: str
