"""`python -m benchmarks.registry`: how the registry behaves when it is large, and what publishing costs.

    --folder FOLDER   where to work (default: a temporary folder); publishing is measured on its disk
    --gib N           gibibytes to publish (default 1)

`plan`, `why` and `show` are timed as whole processes, median of five, with 1,000 and 10,000 artifacts of the size of
the demo's, half of them evaluations. Publishing is timed against writing and syncing the same bytes. Prints found
against limit; exit status 1 if a limit is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.shared import PROJECT, Figure, call, median, where
from reasoning_pipeline.base.files import sync
from reasoning_pipeline.base.fingerprint import digest
from reasoning_pipeline.plan.graph import Plan
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.registry.record import RECORD, FileEntry, Record
from reasoning_pipeline.registry.store import Registry

RECIPE = PROJECT / "recipes" / "arithmetic.yaml"
LIMITS_S = {1_000: 1.0, 10_000: 5.0}
FILES = ("model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
         "chat_template.jinja", "probe.json", "metrics.jsonl", "problem_list.jsonl")  # fmt: skip
SHARDS = 4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--gib", type=float, default=1.0)
    arguments = parser.parse_args()
    print(f"{where()}\n\n| | found | limit |\n|---|---|---|", flush=True)
    found: list[Figure] = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for figures in (commands(Path(folder)), publishing(Path(folder), int(arguments.gib * 2**30))):
            for figure in figures:
                print(figure.row(), flush=True)
            found += figures
    return 1 if any(figure.missed for figure in found) else 0


def commands(folder: Path) -> list[Figure]:
    """Whole processes, file caches warm."""
    plan = make_plan(load_recipe(RECIPE), folder / "empty")
    program = [sys.executable, "-m", "reasoning_pipeline"]
    figures = []
    for count, limit in LIMITS_S.items():
        root = folder / str(count)
        fill(Registry(root), plan, count)
        changed = ["--root", str(root), "--set", "steps.teacher_base.learning_rate=1e-2"]
        for words in (["plan", str(RECIPE)], ["why", str(RECIPE), "polish.evaluate"]):
            seconds = median(lambda words=words, changed=changed: call([*program, *words, *changed]), runs=5)
            figures.append(Figure(f"`{words[0]}`, {count:,} artifacts", seconds, limit, "s"))
        seconds = median(lambda root=root: call([*program, "show", "polish", "--root", str(root)]), runs=5)
        figures.append(Figure(f"`show STEP`, {count:,} artifacts", seconds, 2 * limit, "s"))
        shutil.rmtree(root)
    return figures


def fill(registry: Registry, plan: Plan, count: int) -> None:
    """The recipe's steps under one seed after another, as records alone; every second one is an evaluation."""
    evaluations = [step for step in plan.steps if step.name.endswith(".evaluate")]
    others = [step for step in plan.steps if not step.name.endswith(".evaluate")]
    names: dict[str, str] = {}
    for number in range(count):
        kind = evaluations if number % 2 else others
        step = kind[number // 2 % len(kind)]
        identity = step.identity | {"config": step.identity["config"] | {"seed": 1 + number}}
        fingerprint = digest(identity)
        last = number >= count - 2 * len(plan.steps)
        inputs = {
            entry.field: {
                "reference": entry.reference,
                "fingerprint": entry.fingerprint,
                "artifact": names.get(entry.step or ""),
            }
            for entry in step.inputs
        }
        record = Record.model_validate(
            {
                "kind": type(step.config).publishes,
                "stage": step.config.stage,
                # the recipe's own name once; else the name would fit a thousand
                "step": step.name if last and step.name not in names else f"{step.name}-{number}",
                "recipe": "arithmetic" if last else f"recipe-{number}",
                "fingerprint": fingerprint,
                "config": step.config.model_dump(mode="json"),
                "identity": identity,
                "inputs": inputs,
                "result": {"steps": 48, "seconds": 20.5, "verdicts": {"correct": 5000, "wrong": 1000}},
                "provenance": {"packages": {f"package-{i}": "1.2.3" for i in range(14)}, "python": "3.11"},
                "created": f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}+00:00",
                "files": {name: FileEntry(bytes=100_000, sha256=fingerprint) for name in FILES},
            }
        ).sealed()
        folder = registry.folder / registry.artifact_name(step.config.stage, fingerprint)
        folder.mkdir(parents=True)
        text = json.dumps(record.model_dump(mode="json"), indent=2, ensure_ascii=False)
        (folder / RECORD).write_text(text, encoding="utf-8")
        if last:
            names[step.name] = folder.name


def publishing(folder: Path, size: int) -> list[Figure]:
    """Percent on top of writing and syncing; the best of three of each, for other work on the machine disturbs both."""
    shard = os.urandom(size // SHARDS)
    plan = make_plan(load_recipe(RECIPE), folder / "empty")
    step = plan.step("teacher_base")
    registry = Registry(folder / "published")

    def write(name: str) -> Path:
        target = folder / "published" / "work" / name
        target.mkdir(parents=True)
        for number in range(SHARDS):
            (target / f"model-{number}.safetensors").write_bytes(shard)
        return target

    def plainly() -> None:
        target = write("plain")
        for path in target.iterdir():
            sync(path)
        sync(target)

    def published() -> None:
        registry.publish(write("published"), record)

    values: dict[str, Any] = {
        "kind": "checkpoint",
        "stage": step.config.stage,
        "step": step.name,
        "recipe": "arithmetic",
        "fingerprint": step.fingerprint,
        "config": {},
        "identity": step.identity,
        "created": "2026-01-01T00:00:00+00:00",
        "files": {},
    }
    record = Record.model_validate(values)
    seconds: dict[str, list[float]] = {"plainly": [], "published": []}
    for _ in range(3):
        for action in (plainly, published):
            os.sync()
            started = time.perf_counter()
            action()
            seconds[action.__name__].append(time.perf_counter() - started)
            shutil.rmtree(folder / "published")
    plain, whole = (min(seconds[name]) for name in ("plainly", "published"))
    what = f"publishing {size / 2**30:g} GiB"
    return [
        Figure(f"{what} beyond writing and syncing it", 100 * (whole / plain - 1), 25, "%"),
        Figure(what, whole, None, "s"),
        Figure("writing and syncing it", plain, None, "s"),
    ]


if __name__ == "__main__":
    sys.exit(main())
