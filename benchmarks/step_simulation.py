"""`python -m benchmarks.step_simulation FOLDER [FOLDER …]`: steps as estimates/simulation.py has them, and as measured.

FOLDER is a published step that generated while it trained (runs/registry/sparse_grpo-…). The times of its parts are
taken from every other optimizer step of the first one: seconds until a batch's first token and for each token of its
longest rollout (by least squares), seconds of training for each token, and of a push. From those and each step's own
lengths the simulation says how long the rest takes, and all steps of further folders, which may have other batches or
`max_staleness`. Fails where the sums differ by more than 15 %. The folders must come from one machine under like load.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.shared import where
from reasoning_pipeline.estimates.lengths import Lengths
from reasoning_pipeline.estimates.simulation import Machines, simulate
from reasoning_pipeline.run.metrics import read_metrics

FARTHEST = 0.15
WARMUP = 3
"""Optimizer steps in which things are compiled and caches fill."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    folders = parser.parse_args().folders
    print(f"{where()}\n\n| step | max_staleness | optimizer steps | measured s | simulated s | difference |")
    print("|---|---|---|---|---|---|")
    machines, farthest = None, 0.0
    for folder in folders:
        config, rows = config_of(folder), steps_of(folder)
        if machines is None:
            machines, rows = calibrated(rows[::2], config), rows[1::2]
        measured = sum(row["step_seconds"] for row in rows)
        simulated = sum(step_seconds(row, machines, config) for row in rows)
        difference = simulated / measured - 1
        farthest = max(farthest, abs(difference))
        print(
            f"| {folder.name} | {config['max_staleness']} | {len(rows)} | {measured / len(rows):.3f} | "
            f"{simulated / len(rows):.3f} | {difference:+.1%} |"
        )
    return int(farthest > FARTHEST)


def config_of(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "record.json").read_text(encoding="utf-8"))["config"]
    rollouts = config.get("rollouts_per_step") or config["problems_per_step"] * config["group_size"]
    return {"rollouts": rollouts, "limit": config["max_completion_tokens"], "max_staleness": config["max_staleness"]}


def steps_of(folder: Path) -> list[dict[str, Any]]:
    """Rows of metrics with the seconds that each optimizer step took."""
    rows = read_metrics(folder / "metrics.jsonl")
    return [
        after | {"step_seconds": after["seconds"] - before["seconds"]}
        for before, after in pairwise(rows)
        if after["step"] > WARMUP
    ]


def calibrated(rows: list[dict[str, Any]], config: dict[str, Any]) -> Machines:
    """Of steps that write and train in turn; their rollouts all fit into a server at once."""
    if config["max_staleness"]:
        raise SystemExit("the first folder must have max_staleness 0: only there do parts follow one another")
    longest = [lengths_of(row, config)[-1] for row in rows]
    seconds = [row["generation_seconds"] for row in rows]
    if len(set(longest)) > 1:
        a_token, begin = statistics.linear_regression(longest, seconds)
    if len(set(longest)) == 1 or a_token <= 0 or begin < 0:  # lengths too alike to tell the two apart
        begin, a_token = 0.0, sum(seconds) / sum(longest)
    tokens = sum(config["rollouts"] * row["completion_tokens"] for row in rows)
    training = sum(row["step_seconds"] - row["generation_seconds"] - row["push_seconds"] for row in rows)
    return Machines(
        servers=1,
        at_once=config["rollouts"],
        step_seconds=lambda alive, context: a_token,
        processes=1,
        row_seconds=lambda row: row * training / tokens,
        push_seconds=statistics.fmean(row["push_seconds"] for row in rows),
        begin_seconds=begin,
    )


def lengths_of(row: dict[str, Any], config: dict[str, Any]) -> tuple[float, ...]:
    """Completions of a batch, of which metrics have the mean."""
    return Lengths(row["completion_tokens"], config["limit"]).of(config["rollouts"])


def step_seconds(row: dict[str, Any], machines: Machines, config: dict[str, Any]) -> float:
    batch = lengths_of(row, config)
    return simulate([batch] * 3, 0.0, replace(machines, ahead=config["max_staleness"] > 0)).seconds


if __name__ == "__main__":
    sys.exit(main())
