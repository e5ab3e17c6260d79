"""`python -m benchmarks.limits` (or `make bench`): the limits the project sets itself, measured, as a table.

    --demo     also run the demo from nothing (minutes) and watch its memory
    --test     also time `make test` and `make quick` (many minutes)

Prints found against limit; exit status 1 if a limit is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from benchmarks.shared import PROJECT, Figure, call, median, timed, where

RECIPE = "recipes/arithmetic.yaml"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--test", action="store_true")
    arguments = parser.parse_args()
    print(f"{where()}\n\n| | found | limit |\n|---|---|---|", flush=True)
    figures = [*commands(), push()]
    if arguments.demo:
        figures += demo()
    if arguments.test:
        figures += [timed_make("quick", "s", 60), timed_make("test", "min", 12)]
    for figure in figures:
        print(figure.row(), flush=True)
    return 1 if any(figure.missed for figure in figures) else 0


def commands() -> list[Figure]:
    """Median of seven runs, file caches warm; of `plan` also the fastest and the slowest."""
    program = [sys.executable, "-m", "reasoning_pipeline"]
    plan = f"`python -m reasoning_pipeline plan {RECIPE}`"
    plan_seconds = timed(lambda: call([*program, "plan", RECIPE]))
    evals_help = median(lambda: call([sys.executable, "-m", "evals", "--help"]))
    return [
        Figure("`python -m reasoning_pipeline --help`", median(lambda: call([*program, "--help"])), 0.5, "s"),
        Figure(plan, statistics.median(plan_seconds), 0.5, "s"),
        Figure(f"{plan}, fastest", min(plan_seconds), None, "s"),
        Figure(f"{plan}, slowest", max(plan_seconds), 0.5, "s"),
        Figure("`python -m evals --help`", evals_help, 0.5, "s"),
    ]


def push() -> Figure:
    """Weights of a model of the demo student's size into a real server, proof included; median of 20."""
    os.environ["OMP_NUM_THREADS"] = "1"  # as in the cpu profile; read once, when torch is imported
    from accelerate import Accelerator

    from reasoning_pipeline.data.config import PromptConfig
    from reasoning_pipeline.hardware.profile import load_profile
    from reasoning_pipeline.models.loading import load_model
    from reasoning_pipeline.recipe.fields import Architecture
    from reasoning_pipeline.rollouts.servers.process import RolloutServer
    from reasoning_pipeline.rollouts.weights.push import WeightPush
    from reasoning_pipeline.run.context import StageContext
    from reasoning_pipeline.workflows.reasoning.stages.pretrain import Config, run

    profile = load_profile("cpu")
    with tempfile.TemporaryDirectory() as folder:
        config = Config(architecture=Architecture(), clean_steps=1, seed=0)
        context = StageContext(
            config=config,
            label="bench",
            problems=[],
            inputs={},
            prompt=PromptConfig(),
            profile=profile,
            work=Path(folder),
        )
        checkpoint = run(config, context).folder
        server = RolloutServer(checkpoint, profile, Path(folder) / "server.log", readable=(checkpoint,))
        try:
            server.start()
            server.wait_ready()
            model = load_model(checkpoint)
            transport = WeightPush(server.client, Accelerator(cpu=True), server.transfer_folder, profile.precision)
            transport.push(model, "warm-up")
            return Figure(
                f"weight push, proof included, {model.num_parameters():,} parameters",
                1000 * median(lambda: transport.push(model, "bench"), runs=20),
                100,
                "ms",
            )
        finally:
            server.stop()


def demo() -> list[Figure]:
    """The demo from nothing, then once more when it is complete."""
    with tempfile.TemporaryDirectory() as root:
        command = [sys.executable, "-m", "reasoning_pipeline", "run", RECIPE, "--root", root]
        seconds, gib = watched(command)
        again = median(lambda: call(command), runs=1)
    return [
        Figure("`make demo`", seconds / 60, 6, "min"),
        Figure("its memory, all processes, shared pages once", gib, 8, "GiB"),
        Figure("`make demo` when complete", again, 10, "s"),
    ]


def timed_make(target: str, unit: str, limit: float) -> Figure:
    seconds = median(lambda: call(["make", target]), runs=1)
    return Figure(f"`make {target}`", seconds / 60 if unit == "min" else seconds, limit, unit)


def watched(command: list[str]) -> tuple[float, float]:
    """(seconds, GiB at the highest): proportional set size summed over the process and its descendants."""
    started, peak = time.perf_counter(), 0
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL)
    finished = threading.Event()

    def watch() -> None:
        nonlocal peak
        root = psutil.Process(process.pid)
        while not finished.wait(2.0):
            total = 0
            for member in [root, *root.children(recursive=True)]:
                try:
                    total += member.memory_full_info().pss
                except psutil.Error:
                    continue
            peak = max(peak, total)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    status = process.wait()
    finished.set()
    thread.join()
    if status != 0:
        raise SystemExit(f"{' '.join(command)} ended with status {status}")
    return time.perf_counter() - started, peak / 2**30


if __name__ == "__main__":
    sys.exit(main())
