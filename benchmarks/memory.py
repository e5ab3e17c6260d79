"""`python -m benchmarks.memory`: the memory estimate of `plan` beside what one training step really takes, as a table.

    --device cuda       measure on a GPU (torch.cuda.max_memory_allocated) instead of this process's resident memory
    --precision bfloat16
    --case NAME         one case alone (may be repeated)

Each case trains two optimizer steps of a randomly initialised model in a process of its own. The estimate must lie
between 90 % and 125 % of the measurement: it decides whether a step fits, so too much is better than too little.
Exit status 1 if a case is further off.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.shared import random_model, where
from reasoning_pipeline.estimates.memory import Placement, TrainingTask, trainer_parts
from reasoning_pipeline.estimates.shapes import ModelShape

LOW, HIGH = 0.90, 1.25
"""Estimate over measurement."""

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Case:
    """One shape, one batch. `teacher` is the teacher's hidden size, 0 for none (hard-label training)."""

    hidden: int
    layers: int
    vocabulary: int
    rows: int
    tokens: int
    teacher: int = 0
    checkpointing: bool = False


CASES = {
    # Weights, gradients and moments outweigh the rest.
    "sft-states": Case(hidden=512, layers=8, vocabulary=32768, rows=1, tokens=128),
    # Activations outweigh the rest.
    "sft-activations": Case(hidden=384, layers=8, vocabulary=4096, rows=8, tokens=512),
    "sft-checkpointing": Case(hidden=384, layers=8, vocabulary=4096, rows=8, tokens=512, checkpointing=True),
    # Two tiles of logits and a frozen teacher.
    "distillation": Case(hidden=384, layers=6, vocabulary=16384, rows=2, tokens=512, teacher=640),
    "distillation-states": Case(hidden=640, layers=8, vocabulary=16384, rows=1, tokens=64, teacher=512),
}
GPU_CASES = {
    "sft-0.6b-4k": Case(hidden=1024, layers=28, vocabulary=151936, rows=1, tokens=4096, checkpointing=True),
    "distillation-0.6b": Case(
        hidden=1024, layers=28, vocabulary=151936, rows=2, tokens=2048, teacher=2048, checkpointing=True
    ),
    "distillation-0.6b-plain": Case(hidden=1024, layers=28, vocabulary=151936, rows=2, tokens=1024, teacher=2048),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--case", action="append", choices=[*CASES, *GPU_CASES])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(all_cases()[arguments.child], arguments.device, arguments.precision)))
        return 0
    print(f"{where()}\n\n| case | weights, gradients, moments | activations | teacher | estimated | measured | ratio |")
    print("|---|---|---|---|---|---|---|", flush=True)
    missed = False
    for name in arguments.case or (CASES if arguments.device == "cpu" else GPU_CASES):
        parts = estimate(all_cases()[name], arguments.device, arguments.precision)
        measured = in_child(name, arguments.device, arguments.precision)
        ratio = sum(parts.values()) / measured
        missed |= not LOW <= ratio <= HIGH
        states = parts["weights"] + parts["gradients"] + parts["optimizer"]
        teacher = parts.get("teacher", 0)
        total = sum(parts.values())
        figures = (states, total - states - teacher, teacher, total)
        cells = " | ".join(f"{value / MIB:,.0f}" for value in (*figures, measured))
        print(f"| {name} | {cells} MiB | {ratio:.2f} |{'' if LOW <= ratio <= HIGH else '  <-- off'}", flush=True)
    return 1 if missed else 0


def all_cases() -> dict[str, Case]:
    return CASES | GPU_CASES


def shape(hidden: int, case: Case) -> ModelShape:
    heads = hidden // 64
    return ModelShape(
        vocabulary=case.vocabulary,
        hidden=hidden,
        layers=case.layers,
        heads=heads,
        kv_heads=heads // 2,
        head_dim=64,
        intermediate=3 * hidden,
        tied=True,
        qk_norm=True,
    )


def estimate(case: Case, device: str, precision: str) -> dict[str, int]:
    task = TrainingTask(
        policy=shape(case.hidden, case),
        loss="divergence" if case.teacher else "log_probabilities",
        micro_batch=case.rows,
        tokens=case.tokens,
        teacher=shape(case.teacher, case) if case.teacher else None,
    )
    place = Placement(
        precision_bytes=4 if precision == "float32" else 2, checkpointing=case.checkpointing, gpu=device == "cuda"
    )
    parts = trainer_parts(task, place)
    parts.pop("reserve", None)  # not PyTorch's own allocations
    return parts


def in_child(name: str, device: str, precision: str) -> float:
    """Bytes. A process of its own, so that no case starts in what another left behind."""
    options = ["--device", device, "--precision", precision]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", "--child", name, *options],
        # Without this, glibc keeps freed blocks of up to 32 MiB and resident memory shows what was, not what is.
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    return float(json.loads(done.stdout.strip().splitlines()[-1]))


def measure(case: Case, device: str, precision: str) -> float:
    """Peak bytes of two optimizer steps above what the process held before the models were loaded."""
    import torch

    from reasoning_pipeline.data.config import PromptConfig
    from reasoning_pipeline.hardware.profile import HardwareProfile
    from reasoning_pipeline.run.context import StageContext
    from reasoning_pipeline.workflows.reasoning.stages import forward_kl_warmup, teacher_sft

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        models = {"policy": case.hidden, "teacher": case.teacher or case.hidden}
        for name, hidden in models.items():
            size = shape(hidden, case)
            random_model(
                folder / name,
                vocabulary=size.vocabulary,
                hidden=size.hidden,
                layers=size.layers,
                heads=size.heads,
                kv_heads=size.kv_heads,
                head_dim=size.head_dim,
                max_position_embeddings=case.tokens,
            )
        rng = random.Random(0)
        (folder / "rollouts").mkdir()
        with (folder / "rollouts" / "rollouts.jsonl").open("w") as file:
            for row in range(case.rows):
                ids = [rng.randrange(3, 99) for _ in range(case.tokens)]
                split = 16 + row % 2  # unequal rows, so that there is padding and a mask
                row_ids = {"prompt_ids": ids[:split], "completion_ids": ids[split : case.tokens - row % 2]}
                file.write(json.dumps({"problem_id": str(row), **row_ids}) + "\n")
        shared = {"policy": "p", "rollouts": "r", "rollouts_per_step": case.rows, "steps": 2, "seed": 0}
        shared |= {"save_every": 1000, "learning_rate": 1e-5}
        config: forward_kl_warmup.Config | teacher_sft.Config
        if case.teacher:
            config, make = forward_kl_warmup.Config(teacher="t", **shared), forward_kl_warmup.make_trainer
        else:
            config, make = teacher_sft.Config(**shared), teacher_sft.make_trainer
        context = StageContext(
            config=config,
            label="memory",
            problems=[],
            inputs={name: folder / name for name in ("policy", "teacher", "rollouts")},
            prompt=PromptConfig(),
            profile=HardwareProfile(
                engine="transformers", device=device, precision=precision, gradient_checkpointing=case.checkpointing
            ),
            work=folder / "work",
        )
        before = _reset_peak(device)
        trainer = make(config, context)
        trainer.args.save_strategy = "no"
        trainer.train()
        return (torch.cuda.max_memory_allocated() if device == "cuda" else _peak()) - before


def _reset_peak(device: str) -> int:
    """Bytes held now; the peak counts from here."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    import gc

    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    sys.exit(main())
