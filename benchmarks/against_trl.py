"""`python -m benchmarks.against_trl`: one optimizer step of each stage here and in TRL, on the same rows.

    --methods grpo …     grpo, on_policy_distillation, forward_kl_warmup; all of them by default
    --rows 32            in the step; groups of four for GRPO
    --equal              all rows of 256 tokens, instead of a long tail
    --pairs 1            ours and TRL's take turns this often; ratios are medians over pairs
    --threads 2          of PyTorch
    --tokens 4352        `tokens_per_micro_batch` of ours, as much as four of the longest rows
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

from benchmarks.shared import PROJECT, random_model, where

METHODS = ("grpo", "on_policy_distillation", "forward_kl_warmup")
VOCABULARY, HIDDEN, LAYERS = 32_768, 384, 10
LIMIT, MEDIAN, SIGMA, AT_LIMIT = 1024, 128, 0.8, 0.03
GROUP, ROWS_A_PASS, EQUAL = 4, 4, (32, 224)
SHORT, LONG = 2048, 16_384


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--equal", action="store_true")
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=4352)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--kl-memory", action="store_true")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
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
    options = ["--rows", str(arguments.rows), "--tokens", str(arguments.tokens), *["--equal"] * arguments.equal]
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


def models(folder: Path) -> None:
    import torch

    if (folder / "teacher").is_dir():
        return
    for name in ("policy", "teacher"):
        model = random_model(
            folder / name, vocabulary=VOCABULARY, hidden=HIDDEN, layers=LAYERS, heads=6, kv_heads=3, head_dim=64,
            max_position_embeddings=2 * LIMIT,
        )  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder / "teacher")


def rows(count: int, equal: bool) -> list[tuple[list[int], list[int]]]:
    """(prompt ids, completion ids); groups of GROUP share a prompt."""
    import numpy as np

    draw = np.random.default_rng(7)
    lengths = np.minimum(draw.lognormal(np.log(MEDIAN), SIGMA, count), LIMIT).astype(int).clip(4)
    lengths[draw.permutation(count)[: max(1, round(AT_LIMIT * count))]] = LIMIT
    prompts = draw.lognormal(np.log(40), 0.4, count // GROUP).astype(int).clip(8, 64)
    if equal:
        prompts[:], lengths[:] = EQUAL
    ids = [draw.integers(5, VOCABULARY, size).tolist() for size in prompts]
    return [(ids[row // GROUP], draw.integers(5, VOCABULARY, lengths[row]).tolist()) for row in range(count)]


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


def make_trainer(
    method: str, side: str, folder: Path, given: list[tuple[list[int], list[int]]], arguments: argparse.Namespace
) -> Any:
    from datasets import Dataset

    from reasoning_pipeline.models.loading import load_model, load_tokenizer
    from reasoning_pipeline.training.passes import Limit
    from reasoning_pipeline.training.trl_bridge.distillation import (
        CachedRolloutsTrainer,
        DistillationConfig,
        OnPolicyTrainer,
    )
    from reasoning_pipeline.training.trl_bridge.policy import GRPOConfig, PolicyTrainer

    ours = side == "ours"
    count = len(given)
    common: dict[str, Any] = {
        "output_dir": str(folder / "work"), "max_steps": 1, "learning_rate": 1e-6, "save_strategy": "no",
        "report_to": [],
        "logging_steps": 1, "use_cpu": True, "bf16": False, "gradient_checkpointing": False, "disable_tqdm": True,
        "per_device_train_batch_size": count if ours else ROWS_A_PASS,
        "gradient_accumulation_steps": 1 if ours else count // ROWS_A_PASS,
    }  # fmt: skip
    options: dict[str, Any] = {
        "model": load_model(folder / "policy"),
        "processing_class": load_tokenizer(folder / "policy"),
    }
    if method == "grpo":
        import trl

        trainer: Any = (PolicyTrainer if ours else trl.GRPOTrainer)(
            **options,
            args=GRPOConfig(
                **common, num_generations=GROUP, max_completion_length=LIMIT, beta=0.0, shuffle_dataset=False,
                temperature=1.0, top_p=1.0, top_k=0, vllm_importance_sampling_correction=True,
                vllm_importance_sampling_mode="token_truncate", vllm_importance_sampling_clip_max=2.0,
            ),
            train_dataset=Dataset.from_list([{"prompt": str(row)} for row in range(0, count, GROUP)]),
            reward_funcs=first_token_is_even,
        )  # fmt: skip
    elif method == "on_policy_distillation":
        import trl

        trainer = (OnPolicyTrainer if ours else trl.DistillationTrainer)(
            **options,
            teacher_model=load_model(folder / "teacher"),
            args=DistillationConfig(
                **common, max_completion_length=LIMIT, beta=1.0, temperature=1.0, shuffle_dataset=False
            ),
            train_dataset=Dataset.from_list([{"prompt": str(row)} for row in range(count)]),
        )
        if ours:
            trainer.overlap_every = None  # TRL has no such figure
    elif ours:
        trainer = CachedRolloutsTrainer(
            **options,
            teacher_model=load_model(folder / "teacher"),
            args=DistillationConfig(**common, beta=0.0, temperature=1.0, shuffle_dataset=False),
            train_dataset=Dataset.from_list(
                [{"prompt": "", "prompt_ids": prompt, "completion_ids": completion} for prompt, completion in given]
            ),
        )
        trainer.overlap_every = None
    else:
        from trl.experimental.gkd import GKDConfig, GKDTrainer

        return GKDTrainer(
            **options,
            teacher_model=load_model(folder / "teacher"),
            args=GKDConfig(**common, lmbda=0.0, beta=0.0, temperature=1.0, max_length=2 * LIMIT),
            train_dataset=Dataset.from_list(
                [
                    {
                        "prompt": "",
                        "input_ids": prompt + completion,
                        "completion_mask": [0] * len(prompt) + [1] * len(completion),
                    }
                    for prompt, completion in given
                ]
            ),
        )
    if ours:
        trainer.limit = Limit(tokens=arguments.tokens)
    if method != "forward_kl_warmup":
        trainer.use_vllm, trainer.vllm_generation, trainer._last_loaded_step = True, Written(given), -1
        trainer._tokenize_prompts = lambda prompts: ([given[int(prompt)][0] for prompt in prompts], None, {})
    return trainer


def first_token_is_even(completion_ids: list[list[int]], **_: Any) -> list[float]:
    return [float(ids[0] % 2 == 0) for ids in completion_ids]


class Written:
    """Stands where TRL keeps its vLLM object: the rollouts are there."""

    def __init__(self, given: list[tuple[list[int], list[int]]]) -> None:
        self.given = given

    def sync_weights(self) -> None: ...

    def generate(self, prompts: list[list[int]], *_: Any, **__: Any) -> Any:
        completions = [completion for _, completion in self.given]
        return prompts, completions, [[[-10.4]] * len(ids) for ids in completions], None


# Memory of the divergence


def kl_memory(tokens: int) -> dict[str, float]:
    """Bytes at its peak beyond hidden states, heads and their gradients."""
    import torch

    from reasoning_pipeline.training.trl_bridge.distillation import distillation_trainer
    from reasoning_pipeline.training.trl_bridge.trainer import fitting_tiles

    hidden = torch.randn(1, tokens, HIDDEN, requires_grad=True)
    head = torch.randn(VOCABULARY, HIDDEN, requires_grad=True)
    other, other_head = torch.randn(1, tokens, HIDDEN), torch.randn(VOCABULARY, HIDDEN)
    hidden.grad, head.grad = torch.ones_like(hidden), torch.ones_like(head)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with fitting_tiles(torch.device("cpu")):
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
