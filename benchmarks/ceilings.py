"""What a model's size can learn of a world at all: supervised training on unlimited right solutions, no reward.

    python -m benchmarks.ceilings                                        # the map's worlds and sizes, 20 minutes
    python -m benchmarks.ceilings --steps 300 --worlds '{"written_every": 2}' --sizes 32,64 --out ceilings.csv

The map needs a world in which the student's size is what limits it: its curve ends below 85 %, a larger one's above.
Greedy accuracy on 200 validation problems; each curve has as many optimizer steps of 64 problems. Writes
docs/figures/map_ceilings.csv, which figure_pictures.py draws.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.map_cells import declared, world_of
from benchmarks.shared import PROJECT, note_source, where
from reasoning_pipeline.data.arithmetic import ArithmeticWorld, corpus

OUT = PROJECT / "docs" / "figures" / "map_ceilings.csv"
SIZES = (32, 48, 64)
"""Widths of the student and of the teachers twice and four times as large; two layers, heads of 16."""
BATCH, PEAK, POINTS, SEED = 64, 3e-3, 20, 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ceilings", description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3000, help="optimizer steps a curve (default: 3000)")
    parser.add_argument("--worlds", nargs="*", help="as JSON, instead of the map's")
    parser.add_argument("--sizes", type=lambda text: [int(size) for size in text.split(",")], default=list(SIZES))
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    if arguments.worlds:
        worlds = {text: ArithmeticWorld.model_validate(json.loads(text)) for text in arguments.worlds}
    else:
        worlds = {level: world_of(level) for level in declared().axes["difficulty"]}
    print(where())
    rows: list[dict[str, Any]] = []
    for name, world in worlds.items():
        for size in arguments.sizes:
            curve = list(learn(world, size, arguments.steps))
            rows += [{"world": name, "hidden_size": size, **point} for point in curve]
            last = curve[-1]
            told = f"{last['parameters']:,} parameters, {last['step']} steps, {last['accuracy']:.3f}"
            print(f"{name} {size}: {told}", flush=True)
            with arguments.out.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
    note_source(arguments.out, shlex.join(["python", "-m", "benchmarks.ceilings", *sys.argv[1:]]))
    return 0


def learn(world: ArithmeticWorld, size: int, steps: int) -> Iterator[dict[str, Any]]:
    """Points of one curve: {"parameters": 30336, "step": 400, "accuracy": 0.31}. The rate is constant for six tenths of
    the steps and then falls to a twentieth, so that the end is a ceiling and no moment of noise."""
    import torch

    from reasoning_pipeline.data.config import PromptConfig
    from reasoning_pipeline.data.prompts import PromptRenderer
    from reasoning_pipeline.data.tokenizer_making import END, PAD, save_character_tokenizer
    from reasoning_pipeline.recipe.fields import Architecture
    from reasoning_pipeline.training.pretraining import LINEAR_WARMUP_STEPS, batches, small_model, update
    from reasoning_pipeline.workflows.reasoning.stages.pretrain import greedy_accuracy

    with tempfile.TemporaryDirectory() as folder:
        save_character_tokenizer(Path(folder), world)
        renderer = PromptRenderer.from_folder(Path(folder), PromptConfig())
        torch.manual_seed(SEED)
        shape = Architecture(hidden_size=size, layers=2, heads=max(1, size // 16), head_dim=16)
        model = small_model(shape, renderer, vocabulary=112, inner=3)
        end, pad = renderer.tokenizer.token_to_id(END), renderer.tokenizer.token_to_id(PAD)

        def rows() -> Iterator[tuple[list[int], list[int]]]:
            for question, text in corpus(SEED, noisy=False, world=world):
                answer = renderer.tokenizer.encode(text, add_special_tokens=False).ids
                yield renderer.prompt_ids(question), [*answer, end]

        optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        source = batches(rows(), BATCH, pad=pad, skip=0)
        every = max(1, steps // POINTS)
        for step in range(steps + 1):
            if step % every == 0 or step == steps:
                accuracy = greedy_accuracy(model, renderer, world)
                yield {"parameters": model.num_parameters(), "step": step, "accuracy": round(accuracy, 4)}
            rate = PEAK * min(1.0, (step + 1) / LINEAR_WARMUP_STEPS) * max(0.05, min(1.0, (1 - step / steps) / 0.4))
            update(model, optimizer, next(source), rate)


if __name__ == "__main__":
    sys.exit(main())
