"""`python -m benchmarks.rollouts`: tokens/s of generation, our client against what else a user would pick.

    --model NAME        small (17 M parameters, the default), large (110 M), or toy: the 0.1 M of the tests, where
                        everything but the model counts
    --rollouts N        in each round (default 512)
    --tokens N          of each rollout (default 128)
    --concurrent N      sequences in the engine at a time (default 256)
    --rounds N          every contender once in each (default 5)
    --without NAME      leave a contender out (may be repeated)
    --json              the figures for programs

All contenders run at the same time in processes of their own and take turns, so that load from elsewhere hits them
alike; each round has new prompts. Reported are the best round of each, the median over rounds of the ratio to raw vLLM
in the same round, and the processor time a token cost (client and server together, least of all rounds), which load
from elsewhere distorts least. Same model, prompts, lengths, log-probabilities and vLLM settings; one thread for vLLM.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import psutil

from benchmarks.generation_contenders import CONTENDERS, MAX_MODEL_LEN, make_model, profile
from benchmarks.shared import where
from reasoning_pipeline.rollouts.clients.client import KEY_VARIABLE
from reasoning_pipeline.rollouts.servers.process import RolloutServer

MODELS = {
    "toy": {"hidden": 64, "layers": 2, "vocabulary": 112},
    "small": {"hidden": 384, "layers": 8, "vocabulary": 8192},
    "large": {"hidden": 768, "layers": 12, "vocabulary": 32_768},
}
BASELINE = "raw vLLM, offline"
WITH_SERVER = ("our client", "TRL's VLLMClient", "/v1/completions over HTTP")
PROMPT_TOKENS = 64


class Contender:
    """A process that generates when told to."""

    def __init__(
        self, name: str, model: Path, concurrent: int, environment: dict[str, str], server: int | None
    ) -> None:
        self.name = name
        threads = str(os.cpu_count()) if name.startswith("transformers") else "1"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.generation_contenders", name, str(model), str(concurrent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **environment, "OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"},
            text=True,
        )
        self.rates: list[float] = []
        """Tokens per second, one a round."""
        self.costs: list[float] = []
        """Microseconds of processor time per token, one a round."""
        self._paid = [self.process.pid] + ([server] if server is not None and name in WITH_SERVER else [])

    def answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended ({self.process.wait()})")
        return line

    def round(self, prompts: list[list[int]], tokens: int) -> None:
        assert self.process.stdin is not None
        before = sum(map(processor_seconds, self._paid))
        self.process.stdin.write(json.dumps({"prompts": prompts, "tokens": tokens}) + "\n")
        self.process.stdin.flush()
        seconds, written = json.loads(self.answer())
        if written != len(prompts) * tokens:
            raise SystemExit(f"{self.name} wrote {written} tokens, {len(prompts) * tokens} were asked for")
        self.rates.append(written / seconds)
        self.costs.append((sum(map(processor_seconds, self._paid)) - before) / written * 1e6)

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)


def processor_seconds(pid: int) -> float:
    """Of a process and its descendants so far."""
    root = psutil.Process(pid)
    times = [process.cpu_times() for process in [root, *root.children(recursive=True)]]
    return sum(time.user + time.system for time in times)


def measure(arguments: argparse.Namespace) -> tuple[int, list[Contender]]:
    """(parameters of the model, contenders with a rate for each round)."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = folder / "model"
        size = MODELS[arguments.model]
        parameters = make_model(model, **size)
        server = RolloutServer(model, profile(arguments.concurrent), folder / "server.log", max_model_len=MAX_MODEL_LEN)
        stack.callback(server.stop)
        server.start()
        server.wait_ready()
        environment = {"SERVER_URL": server.url, KEY_VARIABLE: server.key}
        contenders = []
        for name in CONTENDERS:
            if name not in arguments.without:
                contenders.append(Contender(name, model, arguments.concurrent, environment, server.pid))
                stack.callback(contenders[-1].stop)
        for contender in contenders:
            contender.answer()  # ready
        rng = random.Random(0)
        for number in range(arguments.rounds + 1):  # the first warms up
            prompts = [
                [rng.randrange(3, size["vocabulary"]) for _ in range(PROMPT_TOKENS)] for _ in range(arguments.rollouts)
            ]
            for contender in contenders:
                contender.round(prompts, arguments.tokens)
            if not arguments.json:
                label = f"round {number}" if number else "warm-up"
                print(label, *(f"{c.name}: {c.rates[-1]:,.0f}" for c in contenders), sep="  ", file=sys.stderr)
        for contender in contenders:
            del contender.rates[0], contender.costs[0]
    return parameters, contenders


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="small")
    for name, default in (("rollouts", 512), ("tokens", 128), ("concurrent", 256), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--without", action="append", default=[], choices=[name for name in CONTENDERS])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    place = where()  # before the load is our own
    parameters, contenders = measure(arguments)
    baseline = next((contender.rates for contender in contenders if contender.name == BASELINE), None)
    figures = [
        {
            "contender": contender.name,
            "tokens_per_s": round(max(contender.rates)),
            "of_raw": statistics.median(a / b for a, b in zip(contender.rates, baseline, strict=True))
            if baseline
            else None,
            "us_per_token": round(min(contender.costs), 1),
            "rates": [round(rate) for rate in contender.rates],
        }
        for contender in contenders
    ]
    what = (
        f"{parameters / 1e6:.1f} M parameters, float32, {arguments.rollouts} rollouts of {PROMPT_TOKENS} + "
        f"{arguments.tokens} tokens, {arguments.concurrent} at a time, {arguments.rounds} rounds"
    )
    if arguments.json:
        print(json.dumps({"where": place, "what": what, "figures": figures}, indent=2))
        return 0
    print(f"{place}\n{what}\n")
    print("| | tokens/s, best round | of raw vLLM, median round | µs of processor a token |\n|---|---|---|---|")
    for figure in figures:
        share = f"{figure['of_raw']:.0%}" if figure["of_raw"] is not None else ""
        print(f"| {figure['contender']} | {figure['tokens_per_s']:,} | {share} | {figure['us_per_token']:.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
