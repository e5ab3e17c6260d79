"""`python -m benchmarks.against_trl`: one optimizer step of each stage here and in TRL, on the same rows.

    --methods grpo …     grpo, on_policy_distillation, forward_kl_warmup; all of them by default
    --rows 8             in the step, one of them at the limit; groups of four for GRPO
    --whole              32 rows, 3 % at the limit, three pairs: the comparison that targets are held against
    --equal              all rows of 256 tokens, instead of a long tail
    --bridged            TRL's trainers with this project's tiles and divergence in them: what padding alone costs
    --pairs 1            ours and TRL's take turns this often; ratios are medians over pairs
    --threads 2          of PyTorch
    --tokens N           `tokens_per_micro_batch` of ours; by default as much as TRL's passes: four of the longest rows
    --json               the last line is one object: {"grpo": {"ratio", "padding", "memory_ratio"}, …}
    --kl-memory          instead: what the divergence of one row takes beyond hidden states and heads, by its length

The model has 30 M parameters in Qwen3's shape and a vocabulary of 32,768; the teacher has the student's shape and other
weights. Completions are lognormal (sigma 0.8, median 128), and 3 % of them stop at the limit of 1,024. TRL's side are
its `GRPOTrainer` (with its correction of the sampler's log-probabilities, as with vLLM), `DistillationTrainer` and
experimental `GKDTrainer` with `lmbda=0`, four rows a pass. Rollouts are given to both, so that what is timed is the
scoring, loss, gradient and update; each run is a process of its own. `ratio` is TRL's time over ours, `memory_ratio`
our peak memory over TRL's, `padding` our share of computed tokens that are no tokens of rows.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.shared import PROJECT, where
from benchmarks.trl_sides import (
    EQUAL,
    HIDDEN,
    LIMIT,
    LONGEST_PROMPT,
    ROWS_A_PASS,
    VOCABULARY,
    make_trainer,
    models,
    rows,
)

METHODS = ("grpo", "on_policy_distillation", "forward_kl_warmup")
SHORT, LONG = 2048, 16_384


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--equal", action="store_true")
    parser.add_argument("--bridged", action="store_true")
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--kl-memory", action="store_true")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    longest = sum(EQUAL) if arguments.equal else LONGEST_PROMPT + LIMIT
    arguments.tokens = arguments.tokens or ROWS_A_PASS * longest
    if arguments.whole:
        arguments.rows, arguments.pairs = 32, max(3, arguments.pairs)
    if arguments.child:
        method, side, folder = arguments.child
        report = kl_memory(int(side)) if method == "kl" else one_step(method, side, Path(folder), arguments)
        print(json.dumps(report))
        return 0
    print(f"{where()}, {arguments.threads} threads\n")
    if arguments.kl_memory:
        return print_kl_memory(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        found = {method: compared(method, Path(temporary), arguments) for method in arguments.methods}
    if arguments.json:
        print(json.dumps(found))
    return 0


def compared(method: str, folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Prints both sides; what `--json` says of a method."""
    models(folder)
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], "trl": []}
    for _ in range(arguments.pairs):
        for side, of_side in runs.items():
            of_side.append(child([method, side, str(folder)], arguments))
    if method == METHODS[0] or len(arguments.methods) == 1:
        print(
            "| stage | | tokens of rows a second | passes | padding | peak MiB | loss |\n|---|---|---|---|---|---|---|"
        )
    for side, found in runs.items():
        one = found[0]
        speed = statistics.median(run["tokens"] / run["seconds"] for run in found)
        peak = statistics.median(run["peak"] for run in found) / 2**20
        print(
            f"| {method} | {side} | {speed:,.0f} | {one['passes']} | {one['padding']:.1%} | {peak:,.0f} | "
            f"{one['loss']:.7f} |",
            flush=True,
        )
    pairs = list(zip(runs["ours"], runs["trl"], strict=True))
    return {
        "ratio": statistics.median(theirs["seconds"] / ours["seconds"] for ours, theirs in pairs),
        "padding": runs["ours"][0]["padding"],
        "memory_ratio": statistics.median(ours["peak"] / theirs["peak"] for ours, theirs in pairs),
        "loss_difference": abs(runs["ours"][0]["loss"] - runs["trl"][0]["loss"]),
    }


def child(what: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """A process of its own, so that no run starts in what another left behind."""
    options = ["--rows", str(arguments.rows), "--tokens", str(arguments.tokens)]
    options += [f"--{name}" for name in ("equal", "bridged") if getattr(arguments, name)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.against_trl", "--child", *what, *options],
        cwd=PROJECT,
        env=os.environ | {"OMP_NUM_THREADS": str(arguments.threads), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(what)}: {done.stderr[-3000:]}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


# One step in this process


def one_step(method: str, side: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """{"seconds", "tokens" of rows, "passes", "padding", "loss", "peak" in bytes} of one optimizer step."""
    import torch
    from transformers import TrainerCallback

    given = rows(arguments.rows, arguments.equal)
    trainer = make_trainer(method, side, folder, given, arguments)
    computed: list[int] = []

    def count(module: Any, args: Any, options: dict[str, Any]) -> None:
        if torch.is_grad_enabled():
            computed.append((args[0] if args else options["input_ids"]).numel())

    warm = trainer.model(torch.zeros(1, 8, dtype=torch.long)).logits.sum()
    warm.backward()
    trainer.model.zero_grad()
    trainer.model.model.register_forward_pre_hook(count, with_kwargs=True)
    clock: dict[str, float] = {}

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock["began"] = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock["seconds"] = time.perf_counter() - clock["began"]

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            clock.setdefault("loss", logs.get("loss", 0.0))

    trainer.add_callback(Clock)
    started = time.perf_counter()
    trainer.train()
    clock.setdefault("seconds", time.perf_counter() - started)
    tokens = sum(len(prompt) + len(completion) for prompt, completion in given)
    return {
        "seconds": clock["seconds"],
        "tokens": tokens,
        "passes": len(computed),
        "padding": 1 - tokens / sum(computed),
        "loss": clock["loss"],
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


# Memory of the divergence


def kl_memory(tokens: int) -> dict[str, float]:
    """Bytes at its peak beyond hidden states, heads and their gradients, in a pass."""
    import torch

    from reasoning_pipeline.training.packing import keeping_rows_apart
    from reasoning_pipeline.training.trl_bridge.distillation import distillation_trainer
    from reasoning_pipeline.training.trl_bridge.trainer import fitting_tiles

    hidden = torch.randn(1, tokens, HIDDEN, requires_grad=True)
    head = torch.randn(VOCABULARY, HIDDEN, requires_grad=True)
    other, other_head = torch.randn(1, tokens, HIDDEN), torch.randn(VOCABULARY, HIDDEN)
    hidden.grad, head.grad = torch.ones_like(hidden), torch.ones_like(head)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    hidden.grad = None  # a pass makes its hidden states anew: what the loss hands back is their gradient
    with keeping_rows_apart(), fitting_tiles(torch.device("cpu")):
        loss, _, _ = distillation_trainer._chunked_divergence_loss(
            hidden, other, head, other_head, torch.ones(1, tokens), 1.0
        )
        loss.backward()
    return {"bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - held}


def print_kl_memory(arguments: argparse.Namespace) -> int:
    found = {tokens: child(["kl", str(tokens), "-"], arguments)["bytes"] for tokens in (SHORT, LONG)}
    for tokens, size in found.items():
        print(f"{tokens:,} tokens of one row: {size / 2**20:,.0f} MiB beyond hidden states and heads")
    if arguments.json:
        print(json.dumps({"kl_memory": {str(tokens): size for tokens, size in found.items()}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
