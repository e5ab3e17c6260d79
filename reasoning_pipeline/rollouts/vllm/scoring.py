"""The scoring half of our vLLM servers' routes: what a teacher thinks of each position of given sequences.

    POST /v1/teacher_scores   {"sequences": [{"ids": […], "start": 12}, …], "top_k": 64}
      -> one JSON line a sequence (scoring.py), {"index", "tokens", "top_k", "ids", "logprobs", "sampled", "version"} or
         {"index", "error"}; every few seconds {"version"} as a sign of life, and as the last line

What is bounded: vLLM computes [tokens, vocabulary] logits for the tokens it prefills in one step, which the server's
max-num-batched-tokens limits (scoring_profile); and it hands the K + 1 values of *every* position to this process as
Python objects, about 100 bytes each, of which ENTRIES_IN_FLIGHT exist at a time.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import numpy as np
from fastapi import Request
from fastapi.responses import StreamingResponse
from vllm import SamplingParams

from reasoning_pipeline.rollouts.clients.scoring import TeacherScores

ENTRIES_IN_FLIGHT = 2**21
"""Log-probabilities of unfinished sequences, about 200 MB of objects; a longer sequence is scored alone."""
SIGN_OF_LIFE_S = 5.0


class TeacherScoring:
    """Takes sequences while the budget lasts; the engine batches what is in flight."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self._budget = Budget(ENTRIES_IN_FLIGHT)

    async def respond(self, request: Request) -> StreamingResponse:
        body = await request.json()
        vocabulary = self.engine.vllm_config.model_config.get_vocab_size()
        top_k = min(int(body["top_k"]), vocabulary)
        return StreamingResponse(self._lines(body["sequences"], top_k), media_type="application/x-ndjson")

    async def _lines(self, sequences: list[dict[str, Any]], top_k: int) -> AsyncIterator[str]:
        finished: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        async def score(index: int, ids: list[int], start: int) -> None:
            try:
                async with self._budget.held(len(ids) * (top_k + 1)):
                    line = {"index": index, **(await self._scores(ids, start, top_k)).encoded()}
                line["version"] = await self.engine.get_weight_version()
            except Exception as error:  # a refusal (sequence too long, say) belongs to this sequence alone
                line = {"index": index, "error": f"{type(error).__name__}: {error}"}
            await finished.put(line)

        tasks = [asyncio.create_task(score(i, s["ids"], s["start"])) for i, s in enumerate(sequences)]
        left = len(tasks)
        try:
            while left:
                try:
                    line = await asyncio.wait_for(finished.get(), SIGN_OF_LIFE_S)
                    left -= 1
                except TimeoutError:
                    line = {"version": await self.engine.get_weight_version()}  # the engine's own answer
                yield json.dumps(line) + "\n"
            yield json.dumps({"version": await self.engine.get_weight_version()}) + "\n"
        finally:
            for task in tasks:  # the client hung up
                task.cancel()

    async def _scores(self, ids: list[int], start: int, top_k: int) -> TeacherScores:
        if not 0 < start <= len(ids):
            raise ValueError(f"start: expected 1 to {len(ids)}, found {start}")
        params = SamplingParams(
            max_tokens=1, temperature=0.0, prompt_logprobs=top_k, flat_logprobs=True, detokenize=False
        )
        name, prompt = f"score-{secrets.token_hex(8)}", cast(Any, {"prompt_token_ids": ids})
        outputs = [output async for output in self.engine.generate(prompt, params, name)]
        # Flat: no entry for the first token, then for each the token itself and the K best.
        flat, width = outputs[-1].prompt_logprobs, top_k + 1
        skipped = (start - 1) * width
        ids_TK = np.asarray(flat.token_ids[skipped:], dtype="<i4").reshape(len(ids) - start, width)
        logprobs_TK = np.asarray(flat.logprobs[skipped:], dtype="<f4").reshape(ids_TK.shape)
        return TeacherScores(
            ids_TK=np.ascontiguousarray(ids_TK[:, 1:]),
            logprobs_TK=np.ascontiguousarray(logprobs_TK[:, 1:]),
            sampled_T=np.ascontiguousarray(logprobs_TK[:, 0]),
        )


class Budget:
    """A semaphore that counts something else than holders."""

    def __init__(self, total: int) -> None:
        self.total, self.used = total, 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def held(self, amount: int) -> AsyncIterator[None]:
        """Waits until the amount is free; one beyond the total waits until it has everything."""
        amount = min(amount, self.total)
        async with self._changed:
            await self._changed.wait_for(lambda: self.used + amount <= self.total)
            self.used += amount
        try:
            yield
        finally:
            async with self._changed:
                self.used -= amount
                self._changed.notify_all()
