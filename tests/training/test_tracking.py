"""Trackers, for real on files: what a step measured stands there once, also when it was interrupted."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from reasoning_pipeline.base.jsonl import lines
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.plan.graph import Plan, PlannedStep
from reasoning_pipeline.run import tracking
from reasoning_pipeline.run.tracking import FOLDER, flat, followed, require_trackers
from tests.bench import MODEL_FILES, Bench

NAMES = ["tensorboard", "trackio", "mlflow", "wandb"]


@pytest.fixture(autouse=True)
def files_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


def profile(*trackers: str) -> HardwareProfile:
    return HardwareProfile(trackers=list(trackers), environment={"WANDB_MODE": "offline"})  # type: ignore[arg-type]


def rows(last: int) -> str:
    return lines({"step": step, "seconds": step / 2, "loss": 1 / step} for step in range(1, last + 1))


def test_a_profile_names_trackers_alone_or_with_options():
    assert profile("tensorboard", "wandb").trackers == {"tensorboard": {}, "wandb": {}}
    with pytest.raises(ValidationError, match="tensorboard"):
        profile("tensorbord")


def test_settings_and_results_become_flat():
    values = {"stage": "pretrain", "adam": {"rate": 0.1, "betas": [0.9, 0.95]}, "none": None, "amsgrad": False}
    assert flat(values) == {
        "stage": "pretrain", "adam.rate": 0.1, "adam.betas.0": 0.9, "adam.betas.1": 0.95, "amsgrad": False
    }  # fmt: skip


def test_one_that_is_not_installed_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tracking, "find_spec", lambda name: None if name == "wandb" else name)
    require_trackers(profile("tensorboard"))
    with pytest.raises(PipelineError, match=r"'cpu' names trackers that are not installed: wandb"):
        require_trackers(profile("tensorboard", "wandb"))


@pytest.mark.slow
def test_each_row_is_sent_once_and_the_result_at_the_end(bench: Bench, tmp_path: Path):
    plan = bench.plan()
    step = plan.step("teacher_base")
    work = bench.root / "work" / step.output
    work.mkdir(parents=True)
    said = list[str]()

    with pytest.raises(KeyboardInterrupt), followed(plan, step, profile(*NAMES), work, tmp_path / "log", said.append):
        (work / "metrics.jsonl").write_text(rows(3), encoding="utf-8")
        raise KeyboardInterrupt
    with followed(plan, step, profile(*NAMES), work, tmp_path / "log", said.append):
        (work / "metrics.jsonl").write_text(rows(2), encoding="utf-8")  # it resumes before where it stopped
        result = {"accuracy": {"arithmetic": 0.75}, "note": "words"}
        bench.publish(plan, "teacher_base", files=MODEL_FILES | {"metrics.jsonl": rows(5)}, result=result)

    assert said == [], (tmp_path / "log").read_text()
    losses = [(step, pytest.approx(1 / step)) for step in range(1, 6)]
    folder = bench.root / FOLDER
    for found in (_tensorboard(folder, plan, step), _mlflow(folder, plan, step), _trackio(folder, step)):
        assert found["loss"] == losses
        assert found["result/accuracy/arithmetic"] == [(5, 0.75)]
    assert [sorted(path.glob("*.wandb")) != [] for path in (folder / "wandb").glob("offline-run-*")] == [True, True]


@pytest.mark.slow
def test_a_tracker_that_cannot_start_is_told_and_holds_nothing_up(bench: Bench, tmp_path: Path):
    plan = bench.plan()
    step = plan.step("teacher_base")
    broken = HardwareProfile(trackers={"tensorboard": {"logging_dir": "/dev/null/no"}, "mlflow": {}})
    said = list[str]()
    (bench.root / "work" / step.output).mkdir(parents=True)
    with followed(plan, step, broken, bench.root / "work" / step.output, tmp_path / "log", said.append):
        bench.publish(plan, "teacher_base", files=MODEL_FILES | {"metrics.jsonl": rows(2)})
    assert len(said) == 1 and "teacher_base" in said[0] and str(tmp_path / "log") in said[0]
    assert "tensorboard: not started" in (tmp_path / "log").read_text()
    assert [step for step, _ in _mlflow(bench.root / FOLDER, plan, step)["loss"]] == [1, 2]


def _tensorboard(folder: Path, plan: Plan, step: PlannedStep) -> dict[str, Any]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder / "tensorboard" / plan.recipe.name / step.output))
    read.Reload()
    return {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def _mlflow(folder: Path, plan: Plan, step: PlannedStep) -> dict[str, Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient((folder / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("reasoning-pipeline")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == step.output and run.data.tags["group"] == plan.recipe.name
    assert run.data.params["stage"] == "pretrain"
    return {
        name: sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name))
        for name in run.data.metrics
    }


def _trackio(folder: Path, step: PlannedStep) -> dict[str, Any]:
    with sqlite3.connect(folder / "trackio" / "reasoning-pipeline.db") as database:
        found = database.execute("select run_name, step, metrics from metrics order by step").fetchall()
    assert {name for name, *_ in found} == {step.output}
    values: dict[str, Any] = {}
    for _, number, metrics in found:
        for name, value in json.loads(metrics).items():
            values.setdefault(name, []).append((number, value))
    return values
