"""The program behind one step: `python -m reasoning_pipeline.run.program CONTEXT.json`, alone or behind a launcher.

Reads the context that the runner wrote, runs the stage, publishes what it made. Every process of a distributed
trainer runs this; the first one publishes. Exit statuses are those of errors.py.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel, ConfigDict

from reasoning_pipeline.base.jsonl import read_rows
from reasoning_pipeline.base.locks import step_lock
from reasoning_pipeline.base.ownership import leave_with_owner
from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.data.problem_list import ProblemList
from reasoning_pipeline.errors import PipelineError, as_storage_error
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.recipe.workflows import add_stages, stage_module
from reasoning_pipeline.records import Problem
from reasoning_pipeline.registry.provenance import provenance, without_places, write_code_diff
from reasoning_pipeline.registry.record import Record, now
from reasoning_pipeline.registry.store import Artifact, Registry
from reasoning_pipeline.rollouts.clients.client import RolloutClient
from reasoning_pipeline.rollouts.clients.fleet import RolloutFleet
from reasoning_pipeline.run.context import STOP_VARIABLE, StageContext, StageOutcome
from reasoning_pipeline.run.metrics import longest_optimizer_step

CONTEXT_FILE = "context.json"
TEACHER_KEY_VARIABLE = "REASONING_PIPELINE_TEACHER_KEY"
"""Environment variable with the key of the teacher's server."""
PROBLEMS_FILE = "problems.jsonl"
GRACE_SECONDS = 60.0
"""After the runner is gone, how long a step may at least take to save its resume point, beyond an optimizer step."""


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
    server_urls: list[str] = []
    """Their key comes through the environment."""
    urls_beside: dict[str, list[str]] = {}
    """Field -> those of a further model of this step; the same key."""
    transfer_folder: Path | None = None
    stage_file: Path | None = None
    """Where the stage is one of the recipe's own."""
    teacher_url: str | None = None
    """Of the frozen teacher's server; its key comes through TEACHER_KEY_VARIABLE."""
    record: dict[str, Any]
    """The record as far as the plan knows it: identity, inputs, label spend."""

    def save(self) -> Path:
        path = self.work / CONTEXT_FILE
        path.write_text(self.model_dump_json(indent=2), encoding="utf-8")
        return path

    def client(self, urls: list[str]) -> RolloutClient | RolloutFleet | None:
        """Of one server or of several; None where rollouts are written in the trainer's process."""
        server = self.profile.server
        clients = [
            RolloutClient(url, timeout_s=server.request_timeout_s, silence_s=server.silence_timeout_s) for url in urls
        ]
        if len(clients) > 1:
            return RolloutFleet(clients)
        return clients[0] if clients else None

    def teacher_client(self) -> RolloutClient | None:
        if self.teacher_url is None:
            return None
        server, key = self.profile.server, os.environ.get(TEACHER_KEY_VARIABLE)
        return RolloutClient(
            self.teacher_url, key=key, timeout_s=server.request_timeout_s, silence_s=server.silence_timeout_s
        )

    def problems(self) -> list[Problem]:
        path = self.work / PROBLEMS_FILE
        if not path.is_file():
            return []
        return [Problem(**row) for row in read_rows(path)]


def publish(step: StepContext, outcome: StageOutcome, seconds: float) -> Artifact:
    """Make the outcome an artifact, with a record that says how it came about."""
    write_code_diff(outcome.folder)
    if problems := step.problems():
        ProblemList.of(problems).save(outcome.folder)
    record = Record.model_validate(
        {
            **step.record,
            "config": without_places(step.record["config"]),
            "inputs": without_places(step.record["inputs"]),
            "prompt": step.prompt.model_dump(mode="json"),
            "result": without_places(outcome.result),
            "provenance": provenance(step.profile.name, seconds, step.profile.processes),
            "created": now(),
            "files": {},
        }
    )
    return Registry(step.root).publish(outcome.folder, record)


def main(arguments: list[str]) -> int:
    step = StepContext.model_validate_json(Path(arguments[0]).read_text(encoding="utf-8"))
    if step.stage_file is not None and (wrong := list(add_stages([step.stage_file]))):
        print(f"error: {wrong[0]}", file=sys.stderr, flush=True)
        return PipelineError.exit_status
    module = stage_module(step.config["stage"])
    return execute(step, module.Config.model_validate(step.config), module.run)


def execute(step: StepContext, config: Any, run: Callable[[Any, StageContext], StageOutcome]) -> int:
    """Run and publish one step, a stage's or an evaluation; the exit status. Every step's program ends up here."""
    started = time.monotonic()
    leave_with_owner(lambda: max(GRACE_SECONDS, step.profile.stop_grace_s) + (longest_optimizer_step(step.work) or 0))
    context = StageContext(
        config=config,
        label=step.label,
        problems=step.problems(),
        inputs=step.inputs,
        prompt=step.prompt,
        profile=step.profile,
        work=step.work,
        client=step.client(step.server_urls),
        clients_beside={
            field: client for field, urls in step.urls_beside.items() if (client := step.client(urls)) is not None
        },
        transfer_folder=step.transfer_folder,
        teacher_client=step.teacher_client(),
        stop_file=Path(os.environ[STOP_VARIABLE]) if STOP_VARIABLE in os.environ else None,
    )
    try:
        with _alone(step) as published, context.watching_signals():
            if published:
                return 0
            outcome = run(config, context)
            if _rank() == 0:
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


@contextmanager
def _alone(step: StepContext) -> Iterator[bool]:
    """Hold the work folder. The step of a killed runner lives on for a while, to save a resume point or to publish;
    two processes must not write here. Yields whether it has published meanwhile."""
    if _rank() != 0:
        yield False
        return
    with step_lock(step.work / "process", _said):
        found = Registry(step.root).find(step.record["stage"], step.record["fingerprint"])
        alone = int(os.environ.get("WORLD_SIZE", "1")) == 1  # of several processes all would have to know
        if found is not None and alone:
            print(f"published {found.name} (by the process that an earlier run left behind)")
        yield found is not None and alone


def _said(text: str) -> AbstractContextManager[None]:
    print(text, flush=True)
    return nullcontext()


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def leave(status: int) -> NoReturn:
    """End this process. Behind a launcher without what C++ libraries do on their way out: their threads have been seen
    to abort a process whose work was done and published ("terminate called without an active exception")."""
    if "RANK" in os.environ:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
