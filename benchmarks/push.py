"""`python -m benchmarks.push`: what a push of weights costs by model size, against a checkpoint and a restart.

    --sizes 1M 10M 100M 500M    float32 parameters of the models to push (random Qwen3s)
    --pushes 5                  timed pushes of each, after two to warm up; every push changes the model first
    --hardware cpu              hardware profile: its server, its precision
    --transport nccl            overrides the profile's transport (nccl and ipc need GPUs)
    --sleep                     the server sleeps before each push (needs a GPU)
    --no-restart                leave the alternative out: writing a checkpoint and starting a server on it

Prints a table: seconds of the whole push and its parts (best and median), and of the alternative. Writing and loading
overlap, so `load` is what remains after the last byte was written; `proof` is what remains after the last server had
loaded. `restart` is the alternative; `copy` is the time this machine needs to copy the same bytes into shared memory
and out again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import astuple
from pathlib import Path
from typing import Any

from benchmarks.shared import random_model, where

SHAPES = {
    "1M": (4096, 96, 6),
    "10M": (16384, 256, 8),
    "100M": (32768, 640, 16),
    "500M": (65536, 1280, 20),
}
"""Name -> (vocabulary, width, layers) of a Qwen3 with about that many parameters, head and embedding tied."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--pushes", type=int, default=5)
    parser.add_argument("--hardware", default="cpu")
    parser.add_argument("--transport", choices=["safetensors", "nccl", "ipc"])
    parser.add_argument("--sleep", action="store_true")
    parser.add_argument("--no-restart", action="store_true")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read once, when torch is imported
    print(f"{where()}, profile {arguments.hardware}\n")
    print("| parameters | push s, best (median) | write | load | proof | copy | restart s | probe nats |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for size in arguments.sizes:
        print(row(measured(size, arguments)), flush=True)
    return 0


def row(found: dict[str, float]) -> str:
    """One row of the table."""
    parts = " | ".join(f"{found[name]:.3f}" for name in ("write", "load", "proof", "copy"))
    alternative = f"{found['restart']:.1f}" if "restart" in found else ""
    return (
        f"| {found['parameters'] / 1e6:,.1f} M | {found['push']:.3f} ({found['push_median']:.3f}) | {parts} "
        f"| {alternative} | {found['probe']:.1e} |"
    )


def measured(size: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Figures of one size by name: the best push with its parts, the median, and what to compare them with."""
    import torch
    from accelerate import Accelerator

    from reasoning_pipeline.hardware.profile import load_profile
    from reasoning_pipeline.rollouts.servers.process import RolloutServer
    from reasoning_pipeline.rollouts.weights.push import WeightPush

    profile = load_profile(arguments.hardware)
    server_profile = profile.server.model_copy(
        update={
            "transport": arguments.transport or profile.server.transport,
            "sleep": arguments.sleep or profile.server.sleep,
        }
    )
    profile = type(profile).model_validate(profile.model_dump() | {"server": server_profile.model_dump()})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        vocabulary, width, layers = SHAPES[size]
        heads, kv_heads = max(1, width // 64), max(1, width // 128)
        model = random_model(
            folder, vocabulary=vocabulary, hidden=width, layers=layers, heads=heads, kv_heads=kv_heads, head_dim=64
        )
        server = RolloutServer(
            folder, profile, Path(temporary) / "server.log", readable=(folder,), max_model_len=256,
            devices=profile.server.devices_of(0),
        )  # fmt: skip
        try:
            server.start()
            server.wait_ready()
            accelerator = Accelerator(cpu=profile.device == "cpu")
            model.to(accelerator.device)
            push = WeightPush(
                server.client,
                accelerator,
                server.transfer_folder,
                profile.precision,
                transport=profile.server.transport,
                sleep=profile.server.sleep,
            )
            rows = []
            for number in range(arguments.pushes + 2):
                with torch.no_grad():
                    for parameter in model.parameters():
                        parameter.mul_(1.001)
                push.rest()
                push.push(model, f"bench:{number}")
                rows.append((push.seconds, *astuple(push.parts)))
            best = min(rows[2:])
            middle = statistics.median(row[0] for row in rows[2:])
            parameters = sum(parameter.numel() for parameter in model.parameters())
            copy = copy_seconds(parameters * (2 if profile.precision == "bfloat16" else 4))
            if push.full_pushes:
                raise SystemExit(f"{push.full_pushes} of the pushes had to be repeated in full")
            found = {"parameters": parameters, "push_median": middle, "copy": copy, "probe": push.difference}
            found |= dict(zip(("push", "write", "load", "proof"), best, strict=True))
            return found if arguments.no_restart else found | {"restart": restart(server, model, folder)}
        finally:
            server.stop()


def restart(server: Any, model: Any, folder: Path) -> float:
    """Seconds of the alternative: write a checkpoint, stop the server, start it on the checkpoint, wait for it."""
    started = time.perf_counter()
    model.save_pretrained(folder)
    server.stop()
    again = type(server)(folder, server.profile, server.log, readable=(folder,), max_model_len=256)
    try:
        again.start()
        again.wait_ready()
        return time.perf_counter() - started
    finally:
        again.stop()


def copy_seconds(count: int) -> float:
    """Best of three: `count` bytes into warm shared memory and out again, one thread, nothing else; by 256 MiB."""
    import mmap

    import numpy as np

    piece = min(count, 2**28)
    memory = np.frombuffer(mmap.mmap(-1, piece), dtype=np.uint8)
    source, target = np.ones(piece, dtype=np.uint8), np.ones(piece, dtype=np.uint8)
    seconds = []
    for _ in range(4):
        started = time.perf_counter()
        np.copyto(memory, source)
        np.copyto(target, memory)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:]) * count / piece


if __name__ == "__main__":
    sys.exit(main())
