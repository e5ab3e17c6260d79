"""Small registries of made-up artifacts: what a run leaves behind, without running it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reasoning_pipeline.plan.graph import Plan, PlannedStep
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.registry.record import Record

RECIPE = """
name: tiny
description: A tiny run.
expectation: Nothing here is real.
data:
  problems: {source: arithmetic, count: 16, pools: {first: 3/4, second: 1/4}}
steps:
  teacher_base: {stage: pretrain}
  student_base: {stage: pretrain, learning_rate: 1e-3}
  teacher_rl: {stage: sparse_grpo, policy: step:teacher_base, spends: first, epochs: 1}
  rollouts: {stage: teacher_rollouts, teacher: step:teacher_rl, prompts: first}
  warmup:
    {stage: forward_kl_warmup, policy: step:student_base, teacher: step:teacher_rl, rollouts: step:rollouts, steps: 4}
  distill: {stage: on_policy_distillation, policy: step:warmup, teacher: step:teacher_rl, prompts: first, steps: 4}
  polish: {stage: extra_rl, policy: step:distill, spends: second, epochs: 1}
  direct: {stage: sparse_grpo, policy: step:student_base, spends: [first, second], epochs: 1}
evaluate: {suites: [arithmetic], samples: 2, max_tokens: 32}
"""

RIGHT = {
    "teacher_base": 2,
    "student_base": 1,
    "teacher_rl": 7,
    "warmup": 5,
    "distill": 6,
    "polish": 7,
    "direct": 4,
}
"""Of the eight samples (four problems, twice asked) of each evaluation, how many are right."""

PROBLEMS = ("p0", "p1", "p2", "p3")


def tiny_plan(root: Path, recipe: str = RECIPE) -> Plan:
    path = root / "tiny.yaml"
    path.write_text(recipe, encoding="utf-8")
    return make_plan(load_recipe(path), root / "runs")


def finished(root: Path, *, only: Iterable[str] | None = None, text: str = r"8;6;\boxed{6}", **right: int) -> Plan:
    """The tiny plan with its steps published (all, or those named), and looked up again."""
    plan = tiny_plan(root)
    for step in plan.steps:
        if only is None or step.name in only:
            publish(plan, step, text=text, right=RIGHT | right)
    return tiny_plan(root)


def publish(plan: Plan, step: PlannedStep, *, text: str, right: dict[str, int]) -> None:
    folder = plan.registry.root / "work" / step.output
    folder.mkdir(parents=True)
    kind = type(step.config).publishes
    if kind == "checkpoint":
        result = _checkpoint(folder, step.config.stage)
    elif kind == "rollouts":
        _write_rows(folder / "rollouts.jsonl", [{"problem_id": "p0", "sample": 0, "text": text, "correct": True}])
        result = {"rollouts": 1, "accuracy": 1.0, "mean_tokens": 9.0}
    else:
        result = _evaluation(folder, right[step.name.removesuffix(".evaluate")], text)
    record = Record(
        kind=kind,
        stage=step.config.stage,
        step=step.name,
        recipe="tiny",
        fingerprint=step.fingerprint,
        config=step.config.model_dump(mode="json"),
        identity=step.identity,
        result=result,
        provenance={
            "packages": {"math-verify": "0.9.0"},
            "hardware": {"cpu": "abacus"},
            "wall_seconds": 6.0,
            "cpu_hours": 0.001,
        },
        created="2026-01-02T03:04:05+00:00",
        files={},
    )
    plan.registry.publish(folder, record)


def _checkpoint(folder: Path, stage: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = [{"step": i, "seconds": float(i), "loss": 2.0 / i} for i in range(1, 21)]
    result: dict[str, Any] = {"seconds": 90.0, "steps": 20}
    for row in rows:
        if stage in ("sparse_grpo", "extra_rl"):
            row |= {"reward": 0.25 + row["step"] / 40, "entropy": 1.0 / row["step"], "truncated": 0.0}
            row |= {"groups_mixed": 0.5, "groups_all_right": 0.3, "groups_all_wrong": 0.2}
            row |= {"push_seconds": 0.05, "probe_error": 2e-5}
            result |= {"reward_first": 0.275, "reward_last": 0.75}
        elif stage != "pretrain":
            row["kl"] = row["loss"]
            result |= {"kl_first": 2.0, "kl_last": 0.1}
    _write_rows(folder / "metrics.jsonl", rows)
    return result


def _evaluation(folder: Path, right: int, text: str) -> dict[str, Any]:
    (folder / "arithmetic").mkdir()
    asked = [(problem, sample) for sample in (0, 1) for problem in PROBLEMS]
    rows = [
        {"problem_id": p, "sample": s, "text": text, "tokens": 9, "finish": "stop"}
        | {"status": "correct" if i < right else "wrong"}
        for i, (p, s) in enumerate(asked)
    ]
    _write_rows(folder / "arithmetic" / "samples.jsonl", rows)
    questions = [{"id": p, "question": f"question {p}?", "answer": "6"} for p in PROBLEMS]
    _write_rows(folder / "arithmetic" / "problems.jsonl", questions)
    figures = {"accuracy": right / 8, "se_problems_drawn": 0.1, "se_problems_fixed": 0.05, "interval": [0.0, 1.0]}
    figures |= {"problems": 4, "samples": 2, "pass_at_k": 1.0, "truncated": 0.0, "no_answer": 0.0, "mean_tokens": 9.0}
    return {"suites": {"arithmetic": figures}, "verifier": {"sympy": "1.14.0"}}


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
