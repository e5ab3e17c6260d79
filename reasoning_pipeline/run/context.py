"""What a stage sees. It opens no port, builds no path and reads no environment: everything comes from here.

No torch at import: steps that only talk to the server (teacher rollouts, evaluations) stay light.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.errors import Stopped
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.records import Problem
from reasoning_pipeline.rollouts.clients.client import RolloutClient
from reasoning_pipeline.rollouts.clients.fleet import RolloutFleet
from reasoning_pipeline.run.metrics import Metrics

if TYPE_CHECKING:
    from reasoning_pipeline.recipe.stage import StageConfig
    from reasoning_pipeline.rollouts.clients.completions import Sampler


STOP_VARIABLE = "REASONING_PIPELINE_STOP"
"""Environment variable naming a file; once it exists, the step saves and leaves. Signals do not travel through
launchers: srun turns SIGTERM into SIGKILL, and torchrun gives its workers half a minute whatever they are saving."""

_SAME_REQUEST_SECONDS = 5.0


@dataclass(frozen=True)
class StageOutcome:
    """A finished step: the folder to publish, and the figures for its record."""

    folder: Path
    result: dict[str, Any]


@dataclass
class StageContext:
    """Handed to `run(config, context)`."""

    config: StageConfig
    label: str
    """Names this step in policy versions and messages, e.g. `sparse_grpo-3f2a9c1b`."""
    problems: list[Problem]
    """The problems of the pools (or the data set) the step names; empty where it names none."""
    inputs: dict[str, Path]
    """Field of the config -> folder of the model or rollout set it refers to."""
    prompt: PromptConfig
    profile: HardwareProfile
    work: Path
    """Kept until the step is published: resume points, metrics, the output being made."""
    client: RolloutClient | RolloutFleet | None = None
    clients_beside: dict[str, RolloutClient | RolloutFleet] = field(default_factory=dict)
    """Of the fields in `generators_beside`."""
    transfer_folder: Path | None = None
    teacher_client: RolloutClient | None = None
    """The server that holds the frozen teacher, where the profile says `teacher: server`."""
    stop_file: Path | None = None
    _asked_to_stop: list[float] = field(default_factory=list)
    """When the first request came, on the monotonic clock."""
    _looked: float = 0.0

    @property
    def seed(self) -> int:
        assert self.config.seed is not None
        return self.config.seed

    def renderer(self, field_name: str) -> PromptRenderer:
        """Prompts as the model in this field reads them."""
        return PromptRenderer.from_folder(self.inputs[field_name], self.prompt)

    def sampler(self, field_name: str) -> Sampler:
        """Writes with the weights of the model in this field: the run's server, proved, or transformers in here."""
        from reasoning_pipeline.rollouts.session import transformers_sampler
        from reasoning_pipeline.rollouts.weights.push import load_folder  # numpy, which a runner can do without

        folder = self.inputs[field_name]
        client = self.clients_beside.get(field_name, self.client)
        if client is None:
            return transformers_sampler(folder, self.profile)
        version = f"{self.label}/{field_name}" if field_name in self.clients_beside else self.label
        load_folder(client, folder, version, self.profile.precision)
        return client

    def fresh_output(self) -> Path:
        """An empty folder for what will be published."""
        output = self.work / "output"
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir(parents=True)
        return output

    def start_metrics(self, *, total_steps: int | None, resumed_at: int = 0) -> Metrics:
        return Metrics(self.work, total_steps=total_steps, resumed_at=resumed_at)

    def should_stop(self) -> bool:
        """True once SIGTERM or SIGINT has arrived, or the stop file is there (looked for once a second)."""
        now = time.monotonic()
        if not self._asked_to_stop and self.stop_file is not None and now - self._looked > 1.0:
            self._looked = now
            if self.stop_file.exists():
                self._asked_to_stop.append(now)
        return bool(self._asked_to_stop)

    def stop_if_asked(self) -> None:
        if self.should_stop():
            raise Stopped(f"{self.label} was asked to stop", remedy="run again to continue")

    @contextmanager
    def watching_signals(self) -> Iterator[None]:
        """Turns the first SIGTERM or SIGINT into a request; a later one ends the process at once."""

        def note(number: int, frame: object) -> None:
            # Slurm signals every process of a job, and the runner passes its own on: that is one request, not two.
            if self._asked_to_stop and time.monotonic() - self._asked_to_stop[0] > _SAME_REQUEST_SECONDS:
                os._exit(128 + number)
            if not self._asked_to_stop:
                self._asked_to_stop.append(time.monotonic())

        previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def copy_metrics(self, folder: Path) -> None:
        metrics = self.work / "metrics.jsonl"
        if metrics.is_file():
            shutil.copyfile(metrics, folder / metrics.name)
