"""How fast our server answers in an evaluation, beside `vllm serve` as anybody starts it, on one CPU machine.

    python -m benchmarks.evaluation_server runs/models/SmolLM2-135M-Instruct --samples 64

Both are up at once and asked in turn for greedy answers to the same prompts, so that both see the same machine and
write the same, as long as the model goes on. `ours` is the server that an evaluation starts (alone on the machine, our
endpoint); `shared` is one with its share beside a trainer. Printed: tokens per second and processor seconds per 1,000
tokens, the median of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from benchmarks.rollouts import processor_seconds
from reasoning_pipeline.data import word_problems
from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.hardware.profile import load_profile
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.clients.completions import GenerationRequest
from reasoning_pipeline.rollouts.servers.alone import alone_on_this_machine
from reasoning_pipeline.rollouts.servers.process import RolloutServer, free_port

CONCURRENT, LENGTH, CACHE_GIB = 64, 256, "4"


def plain_server(model: Path, precision: str, log: Path) -> tuple[subprocess.Popen[bytes], str]:
    """`vllm serve` with nothing of ours but the address; (process, URL)."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    environment |= {"VLLM_PLUGINS": "", "VLLM_CPU_KVCACHE_SPACE": CACHE_GIB}  # by itself it would take 90 % of memory
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(model), "--served-model-name", "policy"]
    command += ["--port", str(port), "--dtype", precision, "--max-model-len", str(LENGTH)]
    process = subprocess.Popen(command, env=environment, stdout=log.open("wb"), stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    while process.poll() is None:
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return process, url
        except httpx.HTTPError:
            time.sleep(0.5)
    raise SystemExit(f"vllm serve ended\n{log.read_text()[-2000:]}")


def ask_plainly(url: str, prompts: list[list[int]], tokens: int) -> int:
    """One request a prompt; the tokens that came back."""

    async def ask_all() -> int:
        async with httpx.AsyncClient(base_url=url, limits=httpx.Limits(max_connections=CONCURRENT)) as http:

            async def ask(ids: list[int]) -> int:
                body: dict[str, Any] = {"model": "policy", "prompt": ids, "max_tokens": tokens, "temperature": 0}
                found = (await http.post("/v1/completions", json=body, timeout=3000)).json()
                return int(found["usage"]["completion_tokens"])

            return sum(await asyncio.gather(*map(ask, prompts)))

    return asyncio.run(ask_all())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    for name, default in (("samples", 256), ("tokens", 48), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--hardware", default="cpu")
    arguments = parser.parse_args()
    renderer = PromptRenderer.from_folder(arguments.model, PromptConfig())
    prompts = [renderer.prompt_ids(p) for p in word_problems.problems("test", arguments.samples)]
    profile = load_profile(arguments.hardware)
    asked = [GenerationRequest(prompt_ids=ids, seed=seed) for seed, ids in enumerate(prompts)]
    ways: dict[str, tuple[int, Any]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name, its in (("ours", alone_on_this_machine(profile, arguments.model, LENGTH)), ("shared", profile)):
            server = RolloutServer(arguments.model, its, folder / f"{name}.log", max_model_len=LENGTH)
            stack.callback(server.stop)
            server.start()
            server.wait_ready()

            def generate(server: RolloutServer = server, tokens: int = arguments.tokens) -> int:
                groups = server.client.generate(asked, Decoding(temperature=0, max_tokens=tokens), stop_ids=[])
                return sum(len(one.token_ids) for group in groups for one in group)

            assert server.pid is not None
            ways[name] = server.pid, generate
        process, url = plain_server(arguments.model, profile.precision, folder / "plain.log")
        stack.callback(process.wait)
        stack.callback(process.terminate)
        ways["vllm serve"] = process.pid, lambda: ask_plainly(url, prompts, arguments.tokens)

        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for number in range(arguments.rounds + 1):  # the first warms up
            for name, (pid, generate) in ways.items():
                paid, began = processor_seconds(pid), time.monotonic()
                written = generate()
                rate = written / (time.monotonic() - began)
                cost = (processor_seconds(pid) - paid) / written * 1000
                measured = f"{rate:7.1f} tokens/s  {cost:6.2f} CPU-s a 1,000 tokens"
                print(f"round {number}  {name:<10}  {written:,} tokens  {measured}", flush=True)
                if number:
                    found[name].append((rate, cost))
    for name, rounds in found.items():
        rate, cost = (statistics.median(values) for values in zip(*rounds, strict=True))
        print(f"{name:<10}  {rate:7.1f} tokens/s  {cost:6.2f} CPU-s a 1,000 tokens   load {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
