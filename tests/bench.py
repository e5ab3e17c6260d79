"""A small recipe to change in one place at a time, and what a test needs to look at it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from reasoning_pipeline.plan.graph import Plan, PlannedStep
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import Recipe, load_recipe
from reasoning_pipeline.registry.record import Record
from reasoning_pipeline.registry.store import Artifact

PROJECT = Path(__file__).resolve().parent.parent

RECIPE = """
name: small
data:
  problems: {source: arithmetic, count: 16, pools: {first: 3/4, second: 1/4}}
steps:
  teacher_base: {stage: pretrain, architecture: &long {max_positions: 32768}}
  student_base: {stage: pretrain, learning_rate: 1e-3, architecture: *long}
  teacher_rl: {stage: sparse_grpo, policy: step:teacher_base, spends: first, epochs: 1}
  rollouts: {stage: teacher_rollouts, teacher: step:teacher_rl, prompts: first}
  warmup:
    {stage: forward_kl_warmup, policy: step:student_base, teacher: step:teacher_rl, rollouts: step:rollouts, steps: 4}
  distill: {stage: on_policy_distillation, policy: step:warmup, teacher: step:teacher_rl, prompts: first, steps: 4}
  polish: {stage: extra_rl, policy: step:distill, spends: second, epochs: 1}
evaluate: {suites: [arithmetic], samples: 2, max_tokens: 32}
"""

Change = Callable[[dict[str, Any]], object]


class Bench:
    """Recipes and their registry in one temporary folder.

    Example:
        bench.plan(lambda r: r["steps"]["polish"].update(learning_rate=2e-6))
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "runs"

    def write(self, text: str, name: str = "small.yaml") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def changed(self, *changes: Change, name: str = "small.yaml") -> Path:
        values = yaml.safe_load(RECIPE)
        for change in changes:
            change(values)
        return self.write(yaml.safe_dump(values, sort_keys=False), name)

    def recipe(self, *changes: Change, overrides: tuple[str, ...] = ()) -> Recipe:
        return load_recipe(self.changed(*changes), overrides)

    def plan(self, *changes: Change, overrides: tuple[str, ...] = ()) -> Plan:
        return make_plan(self.recipe(*changes, overrides=overrides), self.root)

    def publish(self, plan: Plan, *names: str, files: dict[str, str] | None = None, **fields: Any) -> list[Artifact]:
        """Publish made-up files for these steps of a plan (all where none is named)."""
        return [publish(plan, plan.step(name), files or MODEL_FILES, **fields) for name in names or plan.names()]


def made_up_weights(text: str = "weights") -> str:
    """A safetensors file without a tensor, which says something that makes it different from others.

    Its first eight bytes are the length of the header that follows.
    """
    header = json.dumps({"__metadata__": {"text": text}})
    return chr(len(header)) + "\0" * 7 + header


MODEL_FILES = {"config.json": '{"vocab_size": 112}', "model.safetensors": "weights"}
OUTSIDE_FILES = MODEL_FILES | {"model.safetensors": made_up_weights()}
"""Of a model that no step made: its weights are looked at, and must be as long as they say."""


def publish(plan: Plan, step: PlannedStep, files: dict[str, str], **fields: Any) -> Artifact:
    work = plan.registry.root / "work" / step.output
    write_files(work, files)
    return plan.registry.publish(work, record(step, plan.recipe.name, **fields))


def record(step: PlannedStep, recipe: str, **fields: Any) -> Record:
    values: dict[str, Any] = {
        "kind": type(step.config).publishes,
        "stage": step.config.stage,
        "step": step.name,
        "recipe": recipe,
        "fingerprint": step.fingerprint,
        "config": step.config.model_dump(mode="json"),
        "identity": step.identity,
        "inputs": {
            entry.field: {"reference": entry.reference, "fingerprint": entry.fingerprint, "artifact": entry.artifact}
            for entry in step.inputs
        },
        "created": "2026-01-02T03:04:05+00:00",
        "files": {},
    }
    return Record.model_validate(values | fields)


def write_files(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`python -m reasoning_pipeline ARGUMENTS` as a person types it."""
    return python("-m", "reasoning_pipeline", *map(str, arguments))


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "160", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
