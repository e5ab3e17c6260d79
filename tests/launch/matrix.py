"""The four stages under every launcher that runs on a CPU, against one process: how far apart are the weights?

    python -m tests.launch.matrix                                       # ddp, zero2, zero3 over gloo; docs/cluster.md
    python -m tests.launch.matrix --device cuda ddp zero3 fsdp2         # on a machine with two GPUs

Each mode trains the smoke recipe's stages from the same base models, at the same global batch, with two processes and a
real rollout server (on GPUs it shares the first one). Each stage starts from what the one before it made in the same
mode, so differences add up along the chain. AdamW's first steps divide a gradient by its own size: where that is nearly
zero, rounding alone moves a weight by as much as the learning rate. Hence two figures, the mean and the largest.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from safetensors.numpy import load_file

from reasoning_pipeline.registry.store import Artifact, Registry

PROJECT = Path(__file__).resolve().parents[2]
RECIPE = PROJECT / "recipes" / "smoke" / "extra_rl.yaml"
STAGES = ("teacher_rl", "warmup", "distill", "polish")
MODES = ("ddp", "zero2", "zero3", "fsdp2")
PROCESSES = 2
LEARNABLE = (
    "steps.teacher_base.clean_steps=400",
    "steps.student_base.clean_steps=400",
    "steps.teacher_rl.group_size=8",
    "steps.polish.group_size=8",
)
"""Base models that answer now and then: without a rewarded rollout GRPO has no gradient, and nothing to compare."""


@dataclass(frozen=True)
class Difference:
    """Published weights of one step in two runs."""

    mean: float
    largest: float
    gradient: float
    """Largest relative difference of the gradient's norm over the optimizer steps."""
    moved: float
    """Mean change of the weights in this step: what the differences are to be compared with."""


def profile(folder: Path, mode: str, device: str = "cpu") -> Path:
    """A hardware profile: one process (`one`), or two behind a launcher."""
    values: dict[str, object] = {
        "name": mode,
        "device": device,
        "environment": {"OMP_NUM_THREADS": "1"},
        "server": {"environment": {"OMP_NUM_THREADS": "1"}, "max_servers": 1, "gpu_memory_utilization": 0.3},
    }
    if mode != "one":
        values |= {"processes": PROCESSES, "accelerate_config": f"{mode}.yaml"}
    path = folder / f"{mode}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def run(folder: Path, mode: str, until: str, device: str = "cpu") -> dict[str, Artifact]:
    """Train in this mode up to a step, from the base models of the first mode that ran; step -> artifact."""
    root, bases = folder / mode, folder / "bases"
    if bases.is_dir() and not root.exists():
        shutil.copytree(bases, root)
    command = [sys.executable, "-m", "reasoning_pipeline", "run", RECIPE, "--root", root, "--until", until]
    settings = [word for value in LEARNABLE for word in ("--set", value)]
    done = subprocess.run(
        [*map(str, command), "--hardware", str(profile(folder, mode, device)), *settings],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        logs = sorted((root / "smoke" / "logs").glob("*.log"), key=lambda path: path.stat().st_mtime)
        raise SystemExit(f"{mode}: {done.stdout}{done.stderr}\n{logs[-1].name}:\n{logs[-1].read_text()[-20_000:]}")
    made = {artifact.record.step: artifact for artifact in Registry(root).artifacts()}
    if not bases.is_dir():
        for artifact in made.values():
            if artifact.record.stage == "pretrain":
                shutil.copytree(artifact.folder, bases / "registry" / artifact.name)
    return made


def difference(first: Artifact, second: Artifact) -> Difference:
    """How far two artifacts of the same step are apart."""
    ours, theirs = (load_file(artifact.folder / "model.safetensors") for artifact in (first, second))
    # DeepSpeed hands out a tied head as a tensor of its own; one process saves it once, under the embedding's name.
    assert ours.keys() ^ theirs.keys() <= {"lm_head.weight"}
    apart = np.concatenate([np.abs(ours[name] - theirs[name]).ravel() for name in sorted(ours.keys() & theirs.keys())])
    norms = [np.array([row["grad_norm"] for row in _rows(artifact)]) for artifact in (first, second)]
    relative = np.abs(norms[0] - norms[1]) / np.maximum(np.abs(norms[0]), 1e-6)
    start = load_file(first.folder.parent / str(first.record.inputs["policy"].artifact) / "model.safetensors")
    moved = np.concatenate([np.abs(ours[name] - start[name]).ravel() for name in sorted(start.keys() & ours.keys())])
    return Difference(float(apart.mean()), float(apart.max()), float(relative.max()), float(moved.mean()))


def _rows(artifact: Artifact) -> list[dict[str, float]]:
    text = (artifact.folder / "metrics.jsonl").read_text()
    return [row for row in map(json.loads, text.splitlines()) if "grad_norm" in row]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modes", nargs="*", metavar="MODE", default=list(MODES[:-1]))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--csv", type=Path, help="write the table there too")
    arguments = parser.parse_args()
    found: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        single = run(folder, "one", STAGES[-1], arguments.device)
        print("| launcher | step | stage | mean difference | largest | gradient norm, relative | moved, mean |")
        print("|---|---|---|---|---|---|---|")
        for mode in arguments.modes:
            made = run(folder, mode, STAGES[-1], arguments.device)
            for step in STAGES:
                assert made[step].record.provenance["hardware"]["profile"] == mode
                apart = difference(single[step], made[step])
                cells = (mode, step, made[step].record.stage, *(f"{v:.1e}" for v in vars(apart).values()))
                print(f"| {' | '.join(cells)} |", flush=True)
                found.append({"launcher": mode, "step": step, "stage": made[step].record.stage, **vars(apart)})
    if arguments.csv:
        with arguments.csv.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(found[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(found)


if __name__ == "__main__":
    main()
