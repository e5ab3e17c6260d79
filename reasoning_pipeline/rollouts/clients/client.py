"""The client of one rollout server: token ids in, completions out, under deadlines, each with its policy version.

Speaks the routes of vllm/endpoint.py. Answers stream, one line a rollout, with a sign of life from the engine every few
seconds between them; so a server that is silent for `silence_s` is lost, however long its rollouts are.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from reasoning_pipeline.errors import ServerError, ServerLost
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.clients.completions import Completion, GenerationRequest, OnResult
from reasoning_pipeline.rollouts.clients.dispatch import Dispatch, Server

POLICY_NAME = "policy"
"""The model name every server answers to, whichever checkpoint it holds."""

KEY_VARIABLE = "REASONING_PIPELINE_SERVER_KEY"
"""Environment variable with the server's key; keys are never written to a file or a log."""


class RolloutClient:
    """Talks to one rollout server. Any thread may call any method.

    Args:
        url: `http://127.0.0.1:PORT`.
        key: The server's API key; taken from the environment variable KEY_VARIABLE where it is not given.
        timeout_s: Longest wait for a single answer: a weight update, one call of `score`.
        silence_s: Longest silence of a stream before the server counts as lost.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout_s: float = 600.0, silence_s: float = 120.0) -> None:
        key = key or os.environ.get(KEY_VARIABLE)
        self.url = url.rstrip("/")
        self.silence_s = silence_s
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout_s, connect=5.0),
            verify=self.url.startswith("https:"),  # reading the certificates of the world takes 30 ms
            trust_env=False,  # a proxy from the environment has no business on loopback
        )

    def close(self) -> None:
        self._http.close()

    @property
    def servers(self) -> list[RolloutClient]:
        """The servers behind this client: itself. A RolloutFleet has several."""
        return [self]

    def drop(self, server: Server, error: ServerLost) -> None:
        """There is no other: the loss is the caller's."""
        raise error

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        decoding: Decoding,
        *,
        stop_ids: Sequence[int],
        on_result: OnResult | None = None,
    ) -> list[list[Completion]]:
        """See Sampler.generate."""
        return Dispatch(self, requests, decoding, stop_ids).run(on_result)

    def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Log-probability (nats, temperature 1) of each token after the first, for each sequence of token ids."""
        return self.post("/v1/score", {"sequences": [list(ids) for ids in sequences]})["logprobs"]

    def policy_version(self) -> str:
        """What the last push called the weights; `default` before any push."""
        return self.status()["policy_version"]

    def status(self, timeout_s: float = 5.0) -> dict[str, Any]:
        """What the server says of itself, see vllm/status.py. Raises ServerLost when nobody answers in time."""
        return self._checked(self._send("GET", "/status", timeout=timeout_s))

    def healthy(self) -> bool:
        """Whether the server answers now."""
        try:
            return self._http.get("/health", timeout=5.0).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def get(self, path: str) -> Any:
        """GET JSON. Raises like `post`."""
        return self._checked(self._send("GET", path))

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """POST JSON, get JSON. Raises ServerLost when nobody answers, ServerError on a refusal."""
        return self._checked(self._send("POST", path, json=body))

    def stream(self, path: str, body: dict[str, Any]) -> LineStream:
        """POST JSON, get one JSON object a line. Nothing is sent before the stream is read."""
        return LineStream(self, path, body)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise self._lost(error) from error

    def _checked(self, response: httpx.Response) -> Any:
        if response.status_code == httpx.codes.OK:
            return response.json() if response.content else None
        message = f"{response.url.path} at {self.url}: {response.status_code}: {_reason(response)}"
        if response.status_code in (httpx.codes.INTERNAL_SERVER_ERROR, httpx.codes.SERVICE_UNAVAILABLE):
            # vLLM answers 500 to everything in flight when its engine process has died, and then shuts down.
            raise ServerLost(message)
        raise ServerError(message, remedy=_REMEDIES.get(response.status_code))

    def _lost(self, error: httpx.HTTPError) -> ServerLost:
        kind = "is silent beyond the deadline" if isinstance(error, httpx.TimeoutException) else "is gone"
        return ServerLost(f"the rollout server at {self.url} {kind} ({type(error).__name__}: {error})")


_REMEDIES: dict[int, str] = {
    httpx.codes.UNAUTHORIZED: f"put the server's key into the environment variable {KEY_VARIABLE}",
    httpx.codes.NOT_FOUND: "weights are pushed to servers started with `serve --as-rollout-server` only",
}


class LineStream:
    """One streamed answer. Iterate in one thread; any other thread may `abort`, which the server notices."""

    def __init__(self, client: RolloutClient, path: str, body: dict[str, Any]) -> None:
        self._client, self._path, self._body = client, path, body
        self._socket: socket.socket | None = None
        self._aborted = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The lines. Raises ServerLost when the server goes away or falls silent, ServerError on a refusal."""
        client = self._client
        timeout = httpx.Timeout(client.silence_s, connect=5.0)
        try:
            with client._http.stream("POST", self._path, json=self._body, timeout=timeout) as response:
                self._socket = response.extensions["network_stream"].get_extra_info("socket")
                if response.status_code != httpx.codes.OK:
                    response.read()
                    client._checked(response)
                for line in response.iter_lines():
                    if self._aborted:
                        return
                    yield json.loads(line)
        except (httpx.HTTPError, ValueError) as error:
            if self._aborted:
                return
            if isinstance(error, ValueError):
                raise ServerLost(f"the rollout server at {client.url} sent a line that is no JSON: {error}") from error
            raise client._lost(error) from error
        finally:
            self._socket = None

    def abort(self) -> None:
        """Hang up; the server stops writing for this stream."""
        self._aborted = True
        if (connection := self._socket) is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _reason(response: httpx.Response) -> str:
    """The server's own message, bounded."""
    try:
        body = response.json()
        message = body.get("error", body)
        return str(message.get("message", message) if isinstance(message, dict) else message)[:500]
    except ValueError:
        return response.text[:500]
