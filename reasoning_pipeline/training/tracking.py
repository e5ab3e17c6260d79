"""The follower of one step: `python -m reasoning_pipeline.training.tracking TASK` beside it, until its standard input
ends. The trackers are accelerate's (accelerate.tracking), each with its library's own offline modes and variables.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker, MLflowTracker, TensorBoardTracker, TrackioTracker, WandBTracker

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.base.ownership import leave_with_owner
from reasoning_pipeline.registry.record import RECORD, read_record
from reasoning_pipeline.run.metrics import read_metrics
from reasoning_pipeline.run.tracking import Followed, flat

LOOK_SECONDS = 2.0


class Follower:
    """Sends to one tracker what it has not been sent before."""

    def __init__(self, name: str, task: Followed) -> None:
        self.name, self.task = name, task
        self.sent = sent_before(task).get(name, {})
        """`step`: the last one sent; `run_id`: what the tracker calls the run, where it chooses that itself."""
        self.tracker = tracker(name, task, self.sent.get("run_id"))
        self.tracker.start()
        if not self.sent:
            self.tracker.store_init_configuration({"step": task.name, **task.config})
        if name == "mlflow":
            self.sent["run_id"] = self.tracker.tracker.info.run_id

    def send(self, rows: list[dict[str, Any]]) -> None:
        """Rows of optimizer steps that come after the last one sent."""
        for row in rows:
            if row["step"] > self.sent.get("step", -1):
                self.tracker.log({name: value for name, value in row.items() if name != "step"}, step=row["step"])
                self.sent["step"] = row["step"]

    def finish(self) -> None:
        """What the record says came out, once; then the tracker's own end."""
        if (self.task.artifact / RECORD).is_file() and not self.sent.get("result"):
            values = flat(read_record(self.task.artifact).result, "result.")
            numbers = {name.replace(".", "/"): value for name, value in values.items() if not isinstance(value, str)}
            if numbers:
                self.tracker.log({name: float(value) for name, value in numbers.items()}, step=self.sent.get("step", 0))
            self.sent["result"] = True
        self.tracker.finish()


def tracker(name: str, task: Followed, run_id: str | None) -> GeneralTracker:
    """Of accelerate, told the run's group and name in its own words; the profile's options win."""
    options = dict(task.trackers[name])
    project = options.pop("project", task.project)
    if name == "tensorboard":
        return TensorBoardTracker(f"{task.group}/{task.run}", **{"logging_dir": str(task.folder / name)} | options)
    if name == "mlflow":
        # The light build knows no database; the server's address comes as for MLflow alone, from its variable.
        os.environ.setdefault("MLFLOW_TRACKING_URI", (task.folder / name).as_uri())
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        named = {"run_name": task.run, "tags": {"group": task.group, "step": task.name}, "run_id": run_id}
        return MLflowTracker(experiment_name=project, **named | options)
    named = {"name": task.run, "group": task.group, "resume": "allow"}
    if name == "trackio":
        os.environ.setdefault("TRACKIO_DIR", str(task.folder / name))
        return TrackioTracker(project, **named | options)
    return WandBTracker(project, **named | {"id": task.run, "dir": str(task.folder)} | options)


def sent_before(task: Followed) -> dict[str, dict[str, Any]]:
    return json.loads(task.sent_path.read_text(encoding="utf-8")) if task.sent_path.is_file() else {}


def main(arguments: list[str]) -> int:
    task = Followed.model_validate_json(arguments[0])
    leave_with_owner()
    followers, failed = list[Follower](), False
    for name in task.trackers:
        try:
            followers.append(Follower(name, task))
        except Exception as error:  # whatever a tracker's library raises, the others go on
            print(f"{name}: not started: {type(error).__name__}: {error}", flush=True)
            failed = True
    ended = threading.Event()
    threading.Thread(target=_until_input_ends, args=(ended,), daemon=True).start()
    last = False
    while followers and not last:
        last = ended.wait(LOOK_SECONDS)
        rows = read_metrics(metrics_file(task))
        for follower in list(followers):
            try:
                follower.send(rows)
                if last:
                    follower.finish()
            except Exception as error:
                print(f"{follower.name}: given up: {type(error).__name__}: {error}", flush=True)
                followers.remove(follower)
                failed = True
        sent = sent_before(task)
        if (now := sent | {follower.name: follower.sent for follower in followers}) != sent:
            write_json(task.sent_path, now)
    return int(failed)


def _until_input_ends(ended: threading.Event) -> None:
    sys.stdin.buffer.read()
    ended.set()


def metrics_file(task: Followed) -> Path:
    """Beside the published step once there is one, in its work folder before."""
    published = task.artifact / "metrics.jsonl"
    return published if published.is_file() else task.work / "metrics.jsonl"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
