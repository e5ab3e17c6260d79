"""The program behind one step: `python -m reasoning_pipeline.run_step CONTEXT.json`, alone or behind a launcher.

Reads the context that the runner wrote, runs the stage, publishes what it made. Every process of a distributed
trainer runs this; the first one publishes. Exit statuses are those of errors.py.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from reasoning_pipeline.data.prompts import PromptConfig
from reasoning_pipeline.errors import PipelineError, as_storage_error
from reasoning_pipeline.hardware import HardwareProfile
from reasoning_pipeline.jsonl import read_rows
from reasoning_pipeline.ownership import leave_with_owner
from reasoning_pipeline.provenance import provenance
from reasoning_pipeline.records import Problem
from reasoning_pipeline.registry.record import Record, now
from reasoning_pipeline.registry.store import Artifact, Registry
from reasoning_pipeline.rollouts.client import RolloutClient
from reasoning_pipeline.stage import stage_module
from reasoning_pipeline.training.context import StageContext, StageOutcome

CONTEXT_FILE = "context.json"
PROBLEMS_FILE = "problems.jsonl"
GRACE_SECONDS = 60.0
"""After the runner is gone, how long a step may take to save its resume point."""


class StepContext(BaseModel):
    """What the runner writes for a step's program. Lives in the work folder, never in a record."""

    model_config = ConfigDict(extra="forbid")

    name: str
    label: str
    root: Path
    work: Path
    inputs: dict[str, Path]
    prompt: PromptConfig
    profile: HardwareProfile
    config: dict[str, Any]
    server_url: str | None = None
    transfer_folder: Path | None = None
    record: dict[str, Any]
    """The record as far as the plan knows it: identity, inputs, label spend."""

    def save(self) -> Path:
        path = self.work / CONTEXT_FILE
        path.write_text(self.model_dump_json(indent=2), encoding="utf-8")
        return path

    def client(self) -> RolloutClient | None:
        if self.server_url is None:
            return None
        return RolloutClient(self.server_url, timeout_s=self.profile.server.request_timeout_s)

    def problems(self) -> list[Problem]:
        path = self.work / PROBLEMS_FILE
        if not path.is_file():
            return []
        return [Problem(**row) for row in read_rows(path)]


def publish(step: StepContext, outcome: StageOutcome, seconds: float) -> Artifact:
    """Make the outcome an artifact, with a record that says how it came about."""
    record = Record.model_validate(
        {
            **step.record,
            "prompt": step.prompt.model_dump(mode="json"),
            "result": outcome.result,
            "provenance": provenance(step.profile.name, seconds),
            "created": now(),
            "files": {},
        }
    )
    return Registry(step.root).publish(outcome.folder, record)


def main(arguments: list[str]) -> int:
    step = StepContext.model_validate_json(Path(arguments[0]).read_text(encoding="utf-8"))
    module = stage_module(step.config["stage"])
    return execute(step, module.Config.model_validate(step.config), module.run)


def execute(step: StepContext, config: Any, run: Callable[[Any, StageContext], StageOutcome]) -> int:
    """Run and publish one step, a stage's or an evaluation; the exit status. Every step's program ends up here."""
    started = time.monotonic()
    leave_with_owner(GRACE_SECONDS)
    context = StageContext(
        config=config,
        label=step.label,
        problems=step.problems(),
        inputs=step.inputs,
        prompt=step.prompt,
        profile=step.profile,
        work=step.work,
        client=step.client(),
        transfer_folder=step.transfer_folder,
    )
    try:
        with context.watching_signals():
            outcome = run(config, context)
            if int(os.environ.get("RANK", "0")) == 0:
                artifact = publish(step, outcome, time.monotonic() - started)
                print(f"published {artifact.name}")
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_status
    except Exception as error:
        storage = as_storage_error(error)
        if storage is None:
            raise
        print(f"error: {storage}", file=sys.stderr, flush=True)
        return storage.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
