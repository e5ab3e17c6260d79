"""Routes that our vLLM servers answer besides vLLM's own: many rollouts in one request, scoring, and their status.

vLLM finds `RolloutEndpoint` through the entry-point group `vllm.endpoint_plugins`. Against one `/v1/completions`
request per prompt this saves the parsing, detokenising and formatting of each, lets every rollout have a seed of its
own, and streams each rollout as it finishes, so that it can be judged while others are still being written.

    POST /v1/rollouts   {"requests": [{"prompt_ids": […], "seeds": […], "adapter"?: FOLDER, "schema"?: JSON}, …],
                         "sampling": {…}}
      -> one JSON line a rollout: {"index", "sample", "token_ids", "logprobs", "finish", "version"}, or {"error"} in
         place of the last five; before all of them {"version", "at_once"}, how many are written at the same time;
         after the last and in every pause of 5 s {"version", "running"}
    POST /v1/score      {"sequences": [[…], …]}  ->  {"logprobs": [[…], …], "version"}
    POST /v1/teacher_scores   see scoring.py
    GET  /status        see status.py
    GET  /v1/server     {"transfer_folder", "readable", "development"}: what a runner that adopts this server must know
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from vllm import SamplingParams
from vllm.lora.request import LoRARequest
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

from reasoning_pipeline.rollouts.clients.scoring import ROUTE as SCORING_ROUTE
from reasoning_pipeline.rollouts.vllm.adapters import Adapters
from reasoning_pipeline.rollouts.vllm.guard import BodyLimit, KeyForEveryRoute
from reasoning_pipeline.rollouts.vllm.plugin import readable_folders
from reasoning_pipeline.rollouts.vllm.scoring import TeacherScoring
from reasoning_pipeline.rollouts.vllm.status import ServerStatus

HEARTBEAT_SECONDS = 5.0
"""Longest pause of a stream. The client's `silence_s` is many times that."""


class _Group(msgspec.Struct):
    prompt_ids: list[int]
    seeds: list[int]
    adapter: str | None = None
    schema: str | None = None


class _Body(msgspec.Struct):
    requests: list[_Group]
    sampling: dict[str, Any]


class RolloutEndpoint:
    """See vllm.plugins.endpoint_plugins.interface.EndpointPlugin."""

    name = "reasoning_pipeline"
    required_tasks = ("generate",)

    def attach_router(self, app: FastAPI) -> None:
        app.add_api_route("/v1/rollouts", self.rollouts, methods=["POST"])
        app.add_api_route("/v1/score", self.score, methods=["POST"])
        app.add_api_route(SCORING_ROUTE, self.teacher_scores, methods=["POST"])
        app.add_api_route("/v1/server", self.server, methods=["GET"])
        app.add_api_route("/status", self.status, methods=["GET"])
        app.add_middleware(BodyLimit)
        # vLLM asks for the key below /v1 only; weight updates and collective_rpc would be open to anyone on the host.
        app.add_middleware(KeyForEveryRoute, key=os.environ.get("VLLM_API_KEY"))

    async def init_state(self, engine_client: Any, state: Any, args: Any) -> None:
        self.engine = engine_client
        self.teacher_scoring = TeacherScoring(engine_client)
        self.adapters = Adapters(engine_client)
        config = engine_client.vllm_config
        self.context = config.model_config.max_model_len
        self.vocabulary = config.model_config.get_vocab_size()
        # Enough that the engine's batch is always full, and no more: what waits here costs a few words of memory.
        self.sequences = config.scheduler_config.max_num_seqs
        self.at_once = 2 * self.sequences
        self.slots = asyncio.Semaphore(self.at_once)
        self.figures = ServerStatus(engine_client, state.openai_serving_models.base_model_paths[0].name)
        self.figures.start()

    async def rollouts(self, request: Request) -> Any:
        try:
            body = msgspec.json.decode(await request.body(), type=_Body)
            for schema in {None, *(group.schema for group in body.requests)}:
                _params(body.sampling, seed=0, schema=schema)
            wanted = dict.fromkeys(group.adapter for group in body.requests if group.adapter is not None)
            adapters = {folder: await self.adapters.load(folder) for folder in wanted}
        except (msgspec.DecodeError, TypeError, ValueError) as error:
            return JSONResponse({"error": f"{type(error).__name__}: {str(error)[:300]}"}, 400)
        if refusal := self._refusal([group.prompt_ids for group in body.requests]):
            return JSONResponse({"error": refusal}, 400)
        return StreamingResponse(self._lines(body, adapters), media_type="application/x-ndjson")

    def _refusal(self, prompts: list[list[int]]) -> str | None:
        """What is wrong with the prompts, said before anything is generated."""
        if not all(prompts):
            return "an empty prompt"
        longest = max(map(len, prompts), default=0)
        if longest >= self.context:
            too_long = sum(len(prompt) >= self.context for prompt in prompts)
            return (
                f"{too_long} of {len(prompts)} prompts leave no room for a completion: the longest has {longest} "
                f"tokens, the context is {self.context}"
            )
        outside = [token for prompt in prompts for token in (min(prompt), max(prompt)) if not self._known(token)]
        return f"token {outside[0]} is outside the vocabulary of {self.vocabulary}" if outside else None

    def _known(self, token: int) -> bool:
        return 0 <= token < self.vocabulary

    async def _lines(self, body: _Body, adapters: dict[str, LoRARequest]) -> AsyncIterator[bytes]:
        version = await self.engine.get_weight_version()
        yield _line({"version": version, "at_once": self.sequences})
        finished: asyncio.Queue[bytes] = asyncio.Queue()
        left = sum(len(group.seeds) for group in body.requests)
        asked = (
            (index, sample, group, seed)
            for index, group in enumerate(body.requests)
            for sample, seed in enumerate(group.seeds)
        )

        async def write() -> None:
            for index, sample, group, seed in asked:
                async with self.slots:
                    params = _params(body.sampling, seed, group.schema)
                    line = await self._rollout(group.prompt_ids, params, adapters.get(group.adapter or ""))
                await finished.put(_line({"index": index, "sample": sample, "version": version, **line}))

        writers = [asyncio.create_task(write()) for _ in range(min(left, self.at_once))]
        try:
            while left:
                try:
                    lines = [await asyncio.wait_for(finished.get(), HEARTBEAT_SECONDS)]
                except TimeoutError:
                    # Asked of the engine's process, so that a frozen engine falls silent, too.
                    now = await self.engine.get_weight_version()
                    yield _line({"version": now, "running": left})
                    continue
                while not finished.empty():
                    lines.append(finished.get_nowait())
                left -= len(lines)
                yield b"".join(lines)
            yield _line({"version": await self.engine.get_weight_version(), "running": 0})
        finally:
            for writer in writers:  # the client hung up: vLLM aborts what is cancelled
                writer.cancel()

    async def _rollout(
        self, prompt_ids: list[int], params: SamplingParams, adapter: LoRARequest | None
    ) -> dict[str, Any]:
        try:
            output = (await self._request_output(prompt_ids, params, adapter)).outputs[0]
        except Exception as error:  # a refusal belongs to this rollout alone
            return {"error": f"{type(error).__name__}: {error}"}
        return {
            "token_ids": list(output.token_ids),
            "logprobs": output.logprobs.logprobs,
            "finish": "length" if output.finish_reason == "length" else "stop",
        }

    async def teacher_scores(self, request: Request) -> StreamingResponse:
        return await self.teacher_scoring.respond(request)

    async def score(self, request: Request) -> JSONResponse:
        sequences: list[list[int]] = (await request.json())["sequences"]
        params = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False)
        outputs = await asyncio.gather(*(self._request_output(ids, params) for ids in sequences))
        scores = [
            [position[token].logprob for position, token in zip(output.prompt_logprobs[1:], ids[1:], strict=True)]
            for output, ids in zip(outputs, sequences, strict=True)
        ]
        return JSONResponse({"logprobs": scores, "version": await self.engine.get_weight_version()})

    async def status(self) -> JSONResponse:
        return JSONResponse(await self.figures.now())

    async def server(self) -> JSONResponse:
        folders = readable_folders()
        development = os.environ.get("VLLM_SERVER_DEV_MODE") == "1"
        return JSONResponse(
            {"transfer_folder": folders[0] if folders else None, "readable": folders, "development": development}
        )

    async def _request_output(
        self, prompt_ids: list[int], params: SamplingParams, adapter: LoRARequest | None = None
    ) -> Any:
        final = None
        name = f"rollout-{secrets.token_hex(8)}"
        prompt = cast(Any, {"prompt_token_ids": prompt_ids})
        async with contextlib.aclosing(self.engine.generate(prompt, params, name, lora_request=adapter)) as outputs:
            async for output in outputs:
                final = output
        if final is None:
            raise RuntimeError("the engine returned nothing")
        return final


def _params(sampling: dict[str, Any], seed: int, schema: str | None = None) -> SamplingParams:
    """One token's log-probability a position, in flat lists: an object for each would cost more than sending it."""
    return SamplingParams(
        seed=seed,
        logprobs=0,
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
        structured_outputs=None if schema is None else StructuredOutputsParams(json=schema),
        **sampling,
    )


def _line(values: dict[str, Any]) -> bytes:
    return msgspec.json.encode(values) + b"\n"
