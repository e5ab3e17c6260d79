"""What a step measures, mirrored to the trackers that the profile names while it works.

A process of its own reads metrics.jsonl as it grows and, at the end, the record: a tracker's network, its login or a
fault in it never touches training, and what it was sent before is not sent again when a step resumes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from reasoning_pipeline.base.logs import new_attempt
from reasoning_pipeline.base.ownership import kill_with_children, owner_environment
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.hardware.environment import own_environment
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.plan.graph import Plan, PlannedStep

PROGRAM = "reasoning_pipeline.training.tracking"
FOLDER = "tracking"
"""Below the root: what file trackers write, and how far each step was sent."""
LAST_SECONDS = 60.0
"""What the end of a step waits for its trackers."""


class Followed(BaseModel):
    """One step, as its follower reads it."""

    model_config = ConfigDict(extra="forbid")

    trackers: dict[str, dict[str, Any]]
    """Name -> options of its start."""
    project: str
    group: str
    """The recipe: one group a run."""
    run: str
    """The step's artifact: the same when it resumes."""
    name: str
    config: dict[str, str | int | float | bool]
    """The step's settings by dotted key."""
    work: Path
    artifact: Path
    """Where it will be published, with its metrics and its record."""
    folder: Path

    @property
    def sent_path(self) -> Path:
        return self.folder / f"{self.run}.json"


def require_trackers(profile: HardwareProfile) -> None:
    """Raises PipelineError where a tracker that the profile names is not installed: said before anything runs."""
    missing = [name for name in profile.trackers if find_spec(name) is None]
    if missing:
        raise PipelineError(
            f"the profile {profile.name!r} names trackers that are not installed: {', '.join(missing)}",
            remedy="pip install 'reasoning-pipeline[trackers]', or leave them out of `trackers`",
        )


@contextmanager
def followed(
    plan: Plan, step: PlannedStep, profile: HardwareProfile, work: Path, log: Path, say: Callable[[str], object]
) -> Iterator[None]:
    """Has a follower beside what runs inside; nothing where the profile names no tracker.

    Args:
        work: Of the step.
        log: Takes what the trackers print.
        say: Called with one line where a tracker failed.
    """
    if not profile.trackers:
        yield
        return
    folder = plan.root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    task = Followed(
        trackers=profile.trackers,
        project="reasoning-pipeline",
        group=plan.recipe.name,
        run=step.output,
        name=step.name,
        config=flat(step.config.model_dump(mode="json")),
        work=work.resolve(),
        artifact=(plan.registry.folder / step.output).resolve(),
        folder=folder.resolve(),
    )
    with new_attempt(log).open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", PROGRAM, task.model_dump_json()],
            env=own_environment(os.environ) | profile.environment | owner_environment() | {"CUDA_VISIBLE_DEVICES": ""},
            stdin=subprocess.PIPE,  # closed: the step has ended
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                status = process.wait(LAST_SECONDS)
            except subprocess.TimeoutExpired:
                kill_with_children(process.pid)
                status = process.wait()
            if status != 0:
                say(f"warning: {step.name}: not all of it reached {', '.join(profile.trackers)}: see {log}")


def flat(values: Any, prefix: str = "") -> dict[str, str | int | float | bool]:
    """The numbers, words and truth values of nested mappings, by dotted key; lists by position."""
    if isinstance(values, dict | list):
        items = values.items() if isinstance(values, dict) else enumerate(values)
        return {name: value for key, inner in items for name, value in flat(inner, f"{prefix}{key}.").items()}
    return {prefix.removesuffix("."): values} if isinstance(values, str | int | float | bool) else {}
