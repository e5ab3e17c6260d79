"""Routes that our vLLM servers answer besides vLLM's own: many rollouts in one request, and scoring.

vLLM finds `RolloutEndpoint` through the entry-point group `vllm.endpoint_plugins`. Against one `/v1/completions`
request per prompt this saves the parsing, detokenising and formatting of each, lets every rollout have a seed of its
own, and streams each rollout as it finishes, so that it can be judged while others are still being written.

    POST /v1/rollouts   {"requests": [{"prompt_ids": […], "seeds": […]}, …], "sampling": {…}}
      -> one JSON line a rollout: {"index", "sample", "token_ids", "logprobs", "finish", "version"}; errors as {"error"}
    POST /v1/score      {"sequences": [[…], …]}  ->  {"logprobs": [[…], …], "version"}
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

OPEN_PATHS = ("/health",)


class RolloutEndpoint:
    """See vllm.plugins.endpoint_plugins.interface.EndpointPlugin."""

    name = "reasoning_pipeline"
    required_tasks = ("generate",)

    def attach_router(self, app: FastAPI) -> None:
        app.add_api_route("/v1/rollouts", self.rollouts, methods=["POST"])
        app.add_api_route("/v1/score", self.score, methods=["POST"])
        # vLLM asks for the key below /v1 only; weight updates and collective_rpc would be open to anyone on the host.
        app.add_middleware(KeyForEveryRoute, key=os.environ.get("VLLM_API_KEY"))

    async def init_state(self, engine_client: Any, state: Any, args: Any) -> None:
        self.engine = engine_client

    async def rollouts(self, request: Request) -> StreamingResponse:
        body = await request.json()
        sampling = body["sampling"]
        return StreamingResponse(self._lines(body["requests"], sampling), media_type="application/x-ndjson")

    async def _lines(self, requests: list[dict[str, Any]], sampling: dict[str, Any]) -> AsyncIterator[str]:
        version = await self.engine.get_weight_version()
        finished: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        async def write(index: int, sample: int, prompt_ids: list[int], seed: int) -> None:
            try:
                output = await self._last_output(
                    prompt_ids,
                    SamplingParams(
                        seed=seed, logprobs=0, detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY, **sampling
                    ),
                )
                ids = list(output.token_ids)
                line = {
                    "index": index,
                    "sample": sample,
                    "token_ids": ids,
                    "logprobs": [position[token].logprob for position, token in zip(output.logprobs, ids, strict=True)],
                    "finish": "length" if output.finish_reason == "length" else "stop",
                    "version": version,
                }
            except Exception as error:  # a refusal (prompt too long, say) belongs to this request alone
                line = {"index": index, "sample": sample, "error": f"{type(error).__name__}: {error}"}
            await finished.put(line)

        tasks = [
            asyncio.create_task(write(index, sample, request["prompt_ids"], seed))
            for index, request in enumerate(requests)
            for sample, seed in enumerate(request["seeds"])
        ]
        try:
            for _ in tasks:
                yield json.dumps(await finished.get()) + "\n"
            yield json.dumps({"done": True, "version": await self.engine.get_weight_version()}) + "\n"
        finally:
            for task in tasks:  # the client hung up: stop writing for it
                task.cancel()

    async def score(self, request: Request) -> JSONResponse:
        sequences: list[list[int]] = (await request.json())["sequences"]
        params = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False)
        outputs = await asyncio.gather(*(self._request_output(ids, params) for ids in sequences))
        scores = [
            [position[token].logprob for position, token in zip(output.prompt_logprobs[1:], ids[1:], strict=True)]
            for output, ids in zip(outputs, sequences, strict=True)
        ]
        return JSONResponse({"logprobs": scores, "version": await self.engine.get_weight_version()})

    async def _last_output(self, prompt_ids: list[int], params: SamplingParams) -> Any:
        return (await self._request_output(prompt_ids, params)).outputs[0]

    async def _request_output(self, prompt_ids: list[int], params: SamplingParams) -> Any:
        final = None
        name = f"rollout-{secrets.token_hex(8)}"
        prompt = cast(Any, {"prompt_token_ids": prompt_ids})
        async for output in self.engine.generate(prompt, params, name):
            final = output
        if final is None:
            raise RuntimeError("the engine returned nothing")
        return final


class KeyForEveryRoute:
    """ASGI middleware: 401 without the key, on every path but /health."""

    def __init__(self, app: Any, key: str | None) -> None:
        self.app, self.key = app, key

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.key and scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not secrets.compare_digest(given, f"Bearer {self.key}".encode()):
                await JSONResponse({"error": "the server's key is missing or wrong"}, 401)(scope, receive, send)
                return
        await self.app(scope, receive, send)
