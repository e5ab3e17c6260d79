"""The ways to generate that `benchmarks.rollouts` compares; each runs in a process of its own and obeys its standard
input: a line with a job in, a line with seconds and tokens out. Everything is imported and warmed up before `ready`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.shared import random_model
from reasoning_pipeline.hardware.profile import HardwareProfile, load_profile
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.clients.client import KEY_VARIABLE, RolloutClient
from reasoning_pipeline.rollouts.clients.completions import GenerationRequest, sample_seeds

MAX_MODEL_LEN = 512


@dataclass(frozen=True)
class Job:
    """Prompts of one round; every rollout has `tokens` tokens, none ends by itself."""

    prompts: list[list[int]]
    tokens: int

    @property
    def requests(self) -> list[GenerationRequest]:
        return [GenerationRequest(prompt_ids=ids, seed=seed) for seed, ids in enumerate(self.prompts)]


Run = Callable[[Job], int]
"""Writes everything, returns how many tokens came back."""


def profile(concurrent: int) -> HardwareProfile:
    base = load_profile("cpu")
    return base.model_copy(update={"server": base.server.model_copy(update={"max_sequences": concurrent})})


@contextmanager
def raw_vllm(model: Path, concurrent: int) -> Iterator[Run]:
    """vLLM's own offline class with the server's settings, and log-probabilities as we need them."""
    os.environ |= {
        "VLLM_PLUGINS": "reasoning_pipeline",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
    from vllm import LLM, SamplingParams, TokensPrompt

    llm = LLM(
        str(model),
        dtype="float32",
        enforce_eager=True,
        enable_chunked_prefill=False,
        max_num_seqs=concurrent,
        max_model_len=MAX_MODEL_LEN,
        logprobs_mode="processed_logprobs",
        generation_config="vllm",
    )

    def run(job: Job) -> int:
        params = [
            SamplingParams(max_tokens=job.tokens, logprobs=0, seed=sample_seeds(request)[0], detokenize=False)
            for request in job.requests
        ]
        prompts = [TokensPrompt(prompt_token_ids=ids) for ids in job.prompts]
        outputs = llm.generate(prompts, params, use_tqdm=False)
        return sum(len(output.outputs[0].token_ids) for output in outputs)

    yield run


@contextmanager
def ours(model: Path, concurrent: int) -> Iterator[Run]:
    """Our client and server."""
    client = RolloutClient(os.environ["SERVER_URL"])

    def run(job: Job) -> int:
        groups = client.generate(job.requests, Decoding(max_tokens=job.tokens), stop_ids=[])
        return sum(len(completion.token_ids) for group in groups for completion in group)

    yield run


@contextmanager
def trl_client(model: Path, concurrent: int) -> Iterator[Run]:
    """TRL's VLLMClient against the same server. Its weight updates insist on NCCL; its generate path does not."""
    from trl.generation.vllm_client import VLLMClient

    class WithKey(VLLMClient):
        def check_server(self, *arguments: Any, **options: Any) -> None:
            self.session.headers["Authorization"] = f"Bearer {os.environ[KEY_VARIABLE]}"
            super().check_server(*arguments, **options)

    client = WithKey(os.environ["SERVER_URL"])

    def run(job: Job) -> int:
        found = client.generate(job.prompts, max_tokens=job.tokens)  # it has no seed a prompt
        return sum(map(len, found["completion_ids"]))

    yield run


@contextmanager
def completions_route(model: Path, concurrent: int) -> Iterator[Run]:
    """One request a prompt to /v1/completions, `concurrent` at a time: what a user writes with an HTTP library."""
    import httpx

    async def ask_all(job: Job) -> int:
        places = asyncio.Semaphore(concurrent)
        headers = {"Authorization": f"Bearer {os.environ[KEY_VARIABLE]}"}
        limits = httpx.Limits(max_connections=concurrent)
        async with httpx.AsyncClient(base_url=os.environ["SERVER_URL"], headers=headers, limits=limits) as http:

            async def ask(request: GenerationRequest) -> int:
                body = {"model": "policy", "prompt": request.prompt_ids, "max_tokens": job.tokens, "logprobs": 0}
                body |= {"return_token_ids": True, "seed": request.seed}
                async with places:
                    answer = (await http.post("/v1/completions", json=body, timeout=600)).json()
                return len(answer["choices"][0]["token_ids"])

            return sum(await asyncio.gather(*map(ask, job.requests)))

    yield lambda job: asyncio.run(ask_all(job))


@contextmanager
def transformers_generate(model: Path, concurrent: int) -> Iterator[Run]:
    """`generate` of transformers in batches of `concurrent`, on both cores."""
    from reasoning_pipeline.models.loading import load_model
    from reasoning_pipeline.rollouts.transformers_sampler import TransformersSampler

    sampler = TransformersSampler(load_model(model), pad_id=0, max_rows=concurrent)

    def run(job: Job) -> int:
        groups = sampler.generate(job.requests, Decoding(max_tokens=job.tokens), stop_ids=[])
        return sum(len(completion.token_ids) for group in groups for completion in group)

    yield run


CONTENDERS: dict[str, Callable[[Path, int], contextlib.AbstractContextManager[Run]]] = {
    "raw vLLM, offline": raw_vllm,
    "our client": ours,
    "TRL's VLLMClient": trl_client,
    "/v1/completions over HTTP": completions_route,
    "transformers.generate": transformers_generate,
}


def main(name: str, model: str, concurrent: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print; the answers' line stays clean
    with CONTENDERS[name](Path(model), int(concurrent)) as run:
        run(Job(prompts=[[5, 6, 7]] * 4, tokens=4))
        print("ready", file=answers, flush=True)
        for line in sys.stdin:
            job = Job(**json.loads(line))
            started = time.perf_counter()
            tokens = run(job)
            print(json.dumps([time.perf_counter() - started, tokens]), file=answers, flush=True)


def make_model(folder: Path, *, hidden: int, layers: int, vocabulary: int) -> int:
    """Random weights and no end token, so that every rollout has its full length; returns its size."""
    heads = max(2, hidden // 64)
    model = random_model(
        folder,
        vocabulary=vocabulary,
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=max(2, heads // 2),
        head_dim=64 if hidden >= 128 else 32,
        max_position_embeddings=MAX_MODEL_LEN,
        eos_token_id=None,
    )
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings.pop("eos_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return int(model.num_parameters())


if __name__ == "__main__":
    main(*sys.argv[1:])
