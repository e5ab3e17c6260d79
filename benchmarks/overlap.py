"""`python -m benchmarks.overlap`: who stands still during GRPO steps, with overlap off and on.

    --models toy 10M     the demo's teacher (0.25 M parameters) and one of 10 M, random weights, float32
    --steps 20           optimizer steps measured of each, after three to warm up
    --rounds 2           each setting this often, taking turns; the fastest round is reported
    --problems 16        in a step, with 8 rollouts of up to 32 tokens each: the demo's batch
    --hardware cpu       hardware profile

Trains with the stage's own code against a real server and reads what it measures. `generating` is the server at work on
the batch, `waiting` the trainer standing still for it, `pushing` weights and proof, `optimizing` the rest of the step.
A trainer is idle while it waits; a server while it does not generate. With max_staleness 1 the two work at once, so
generation takes longer where they share cores.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.shared import random_model, where

SHAPES = {"toy": (112, 96, 2), "10M": (16384, 256, 8)}
"""Name -> (vocabulary, width, layers)."""
GROUP, TOKENS, WARMUP = 8, 32, 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--problems", type=int, default=16)
    parser.add_argument("--hardware", default="cpu")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read once, when torch is imported
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    print(f"{where()}, profile {arguments.hardware}\n")
    columns = ["step s", "generating", "waiting", "pushing", "optimizing", "trainer idle", "server idle"]
    print(f"| model | max_staleness | {' | '.join(columns)} |\n{'|---' * 9}|", flush=True)
    for model in arguments.models:
        for staleness, parts in measured(model, arguments).items():
            cells = [f"{value:.0%}" if name.endswith("idle") else f"{value:.3f}" for name, value in parts.items()]
            print(f"| {model} | {staleness} | {' | '.join(cells)} |", flush=True)
    return 0


def measured(model: str, arguments: argparse.Namespace) -> dict[int, dict[str, float]]:
    """max_staleness -> the parts of a step of one model."""
    from reasoning_pipeline.hardware.profile import load_profile
    from reasoning_pipeline.rollouts.servers.process import RolloutServer

    rounds: dict[int, list[list[dict[str, float]]]] = {0: [], 1: []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        vocabulary, width, layers = SHAPES[model]
        heads = width // 32
        random_model(
            folder, vocabulary=vocabulary, hidden=width, layers=layers, heads=heads, kv_heads=heads, head_dim=32,
            max_position_embeddings=128,
        )  # fmt: skip
        server = RolloutServer(
            folder, load_profile(arguments.hardware), Path(temporary) / "server.log", max_model_len=96
        )
        try:
            server.start()
            server.wait_ready()
            for number in range(arguments.rounds):
                for max_staleness, found in rounds.items():
                    work = Path(temporary) / f"{number}-{max_staleness}"
                    found.append(train(folder, server, work, max_staleness, arguments))
        finally:
            server.stop()
    return {staleness: parts(min(found, key=step_seconds)) for staleness, found in rounds.items()}


def train(
    folder: Path, server: Any, work: Path, max_staleness: int, arguments: argparse.Namespace
) -> list[dict[str, float]]:
    """The metrics of each step after the warm-up, with its duration as `step_seconds`."""
    from reasoning_pipeline.data import arithmetic
    from reasoning_pipeline.data.config import PromptConfig
    from reasoning_pipeline.hardware.profile import load_profile
    from reasoning_pipeline.run.context import StageContext
    from reasoning_pipeline.run.metrics import read_metrics
    from reasoning_pipeline.training import loop
    from reasoning_pipeline.workflows.reasoning.grpo import grpo_trainer
    from reasoning_pipeline.workflows.reasoning.stages import sparse_grpo

    steps = arguments.steps + WARMUP
    config = sparse_grpo.Config(
        policy="p", spends="first", seed=0, steps=steps, save_every=steps + 1, learning_rate=1e-5,
        problems_per_step=arguments.problems, group_size=GROUP, max_completion_tokens=TOKENS, max_prompt_tokens=TOKENS,
        max_staleness=max_staleness,
    )  # fmt: skip
    context = StageContext(
        config=config,
        label=f"overlap-{max_staleness}",
        problems=arithmetic.problems("pool", arguments.problems * 4),
        inputs={"policy": folder},
        prompt=PromptConfig(),
        profile=load_profile(arguments.hardware),
        work=work,
        client=server.client,
        transfer_folder=server.transfer_folder,
    )
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        loop.train(grpo_trainer(config, context), context)
    rows = read_metrics(work / "metrics.jsonl")
    timed = [
        {**later, "step_seconds": later["seconds"] - earlier["seconds"]} for earlier, later in itertools.pairwise(rows)
    ]
    return timed[WARMUP - 1 :]


def step_seconds(rows: list[dict[str, float]]) -> float:
    return statistics.median(row["step_seconds"] for row in rows)


def parts(rows: list[dict[str, float]]) -> dict[str, float]:
    """By name, in the table's order: medians of the parts in seconds, idle times as shares of the whole time."""

    def median(name: str) -> float:
        return statistics.median(row[name] for row in rows)

    def share(name: str) -> float:
        return sum(row[name] for row in rows) / sum(row["step_seconds"] for row in rows)

    optimizing = statistics.median(r["step_seconds"] - r["wait_seconds"] - r["push_seconds"] for r in rows)
    return {
        "step": step_seconds(rows),
        "generating": median("generation_seconds"),
        "waiting": median("wait_seconds"),
        "pushing": median("push_seconds"),
        "optimizing": optimizing,
        "trainer_idle": share("wait_seconds"),
        "server_idle": max(0.0, 1 - share("generation_seconds")),
    }


if __name__ == "__main__":
    raise SystemExit(main())
