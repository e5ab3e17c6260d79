"""The client of rollout servers: token ids in, completions out, under a deadline, each with its policy version.

Speaks the routes of vllm_endpoint.py: one HTTP request for a whole batch, one line back for each finished rollout.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
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


class RolloutClient:
    """Talks to one rollout server.

    Args:
        url: `http://127.0.0.1:PORT`.
        key: The server's API key; taken from the environment variable KEY_VARIABLE where it is not given.
        timeout_s: Longest silence before the server counts as lost.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout_s: float = 600.0) -> None:
        key = key or os.environ.get(KEY_VARIABLE)
        self.url = url
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout_s, connect=5.0),
            trust_env=False,  # a proxy from the environment has no business on loopback
        )

    def close(self) -> None:
        self._http.close()

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        decoding: Decoding,
        *,
        stop_ids: Sequence[int],
        on_result: Callable[[int, list[Completion]], None] | None = None,
    ) -> list[list[Completion]]:
        """See Sampler.generate."""
        if not requests:
            return []
        sampling = asdict(decoding) | {"stop_token_ids": list(stop_ids)}
        sampling.pop("seed")
        body = {
            "requests": [{"prompt_ids": r.prompt_ids, "seeds": sample_seeds(r)} for r in requests],
            "sampling": sampling,
        }
        found: list[dict[int, Completion]] = [{} for _ in requests]
        versions: set[str] = set()
        done = False
        for line in self._stream("/v1/rollouts", body):
            if "error" in line:
                raise self._refused(line["error"], requests[line["index"]])
            versions.add(line["version"])
            if done := "done" in line:
                break
            completion = Completion(
                token_ids=line["token_ids"],
                logprobs=line["logprobs"],
                finish=line["finish"],
                policy_version=line["version"],
            )
            group = found[line["index"]]
            group[line["sample"]] = completion
            if len(group) == requests[line["index"]].n and on_result is not None:
                on_result(line["index"], [group[sample] for sample in sorted(group)])
        if not done:
            raise ServerLost(f"the rollout server at {self.url} ended its answer early")
        if len(versions) > 1:
            raise ServerError(
                f"{self.url}: the weights changed ({', '.join(sorted(versions))}) while rollouts were being written",
                remedy="another program pushes to this server; give each run its own",
            )
        return [[group[sample] for sample in sorted(group)] for group in found]

    def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Log-probability (nats, temperature 1) of each token after the first, for each sequence of token ids."""
        return self.post("/v1/score", {"sequences": [list(ids) for ids in sequences]})["logprobs"]

    def policy_version(self) -> str:
        """What the last push called the weights; `default` before any push."""
        return self._checked(self._send("GET", "/weight_info", None))["weight_version"]

    def healthy(self) -> bool:
        """Whether the server answers now."""
        try:
            return self._http.get("/health", timeout=5.0).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """POST JSON, get JSON. Raises ServerLost when nobody answers, ServerError on a refusal."""
        return self._checked(self._send("POST", path, body))

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        try:
            return self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise self._lost(error) from error

    def _stream(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        try:
            with self._http.stream("POST", path, json=body) as response:
                if response.status_code != httpx.codes.OK:
                    response.read()
                    self._checked(response)
                for line in response.iter_lines():
                    yield json.loads(line)
        except httpx.HTTPError as error:
            raise self._lost(error) from error

    def _checked(self, response: httpx.Response) -> Any:
        if response.status_code == httpx.codes.OK:
            return response.json() if response.content else None
        message = f"{response.url.path} at {self.url}: {response.status_code}: {_reason(response)}"
        if response.status_code in (httpx.codes.INTERNAL_SERVER_ERROR, httpx.codes.SERVICE_UNAVAILABLE):
            # vLLM answers 500 to everything in flight when its engine process has died, and then shuts down.
            raise ServerLost(message)
        raise ServerError(message)

    def _refused(self, reason: str, request: GenerationRequest) -> ServerError:
        if "EngineDead" in reason:
            return ServerLost(f"the engine of the rollout server at {self.url} died ({reason[:200]})")
        return ServerError(
            f"the rollout server refused a prompt of {len(request.prompt_ids)} tokens: {reason[:500]}",
            remedy="shorten max_prompt_tokens or max_completion_tokens, or serve a longer context",
        )

    def _lost(self, error: httpx.HTTPError) -> ServerLost:
        kind = "gave no answer within the deadline" if isinstance(error, httpx.TimeoutException) else "is gone"
        return ServerLost(f"the rollout server at {self.url} {kind} ({type(error).__name__}: {error})")


def sample_seeds(request: GenerationRequest) -> list[int]:
    """One seed for each of a request's samples, far apart, so that neighbouring requests share none."""
    return [
        int.from_bytes(hashlib.blake2b(f"{request.seed}/{sample}".encode(), digest_size=7).digest(), "big")
        for sample in range(request.n)
    ]


def _reason(response: httpx.Response) -> str:
    """The server's own message, bounded."""
    try:
        body = response.json()
        message = body.get("error", body)
        return str(message.get("message", message) if isinstance(message, dict) else message)[:500]
    except ValueError:
        return response.text[:500]
