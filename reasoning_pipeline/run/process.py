"""One step as a process of its own: what it is told, what it finds in its environment, how it is asked to stop."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.jsonl import lines
from reasoning_pipeline.base.logs import new_attempt
from reasoning_pipeline.base.ownership import kill_with_children, owner_environment
from reasoning_pipeline.base.text import clock
from reasoning_pipeline.errors import Stopped
from reasoning_pipeline.estimates.fitting import sized_passes
from reasoning_pipeline.hardware.environment import devices_of_ours, own_environment
from reasoning_pipeline.hardware.launcher import has_launcher, launch_command
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.models.outside import outside_folder
from reasoning_pipeline.plan.graph import Plan, PlannedStep
from reasoning_pipeline.recipe.model import Recipe
from reasoning_pipeline.recipe.stage import File, fields_marked
from reasoning_pipeline.recipe.workflows import own_stage
from reasoning_pipeline.registry.provenance import COMMAND_VARIABLE, command_line
from reasoning_pipeline.registry.resolve import resolve_model
from reasoning_pipeline.rollouts.clients.client import KEY_VARIABLE
from reasoning_pipeline.rollouts.servers.pool import Pool, Servers
from reasoning_pipeline.run.context import STOP_VARIABLE
from reasoning_pipeline.run.program import PROBLEMS_FILE, TEACHER_KEY_VARIABLE, StepContext
from reasoning_pipeline.run.progress import Progress
from reasoning_pipeline.run.stopping import grace_s, stopped
from reasoning_pipeline.run.warm_start import WarmProcess, prepare

POLL_SECONDS = 0.2


def input_folder(plan: Plan, step: PlannedStep, field: str) -> Path:
    """The folder of the model or rollout set that a field of a step refers to; it need not exist yet."""
    entry = step.input(field)
    if entry.artifact is not None:
        return plan.registry.folder / entry.artifact
    local = outside_folder(entry.reference, plan.recipe.folder)
    # The commit that was planned, never what its branch means by now.
    return local or resolve_model(plan.pins.model(entry.reference), plan.registry.root).folder


@dataclass(frozen=True)
class StepProcess:
    """Starts the programs of one recipe's steps on this machine."""

    recipe: Recipe
    profile: HardwareProfile
    store: Path
    """Holds registry and work folders."""
    progress: Progress
    again: str
    """The command line that continues."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set to have every running step save a resume point and leave: Ctrl-C reaches only the main thread."""
    killing: threading.Event = field(default_factory=threading.Event)
    """Set to have a step that is stopping end now, saved or not: Ctrl-C for the second time."""

    def begin(self) -> None:
        """Called in the main thread, before any step runs."""
        if self.profile.warm_start:
            prepare(own_environment(os.environ) | self.profile.environment)

    def run(
        self,
        plan: Plan,
        step: PlannedStep,
        work: Path,
        log: Path,
        server: Servers | None,
        beside: dict[str, Servers],
        teacher: Servers | None,
        servers: Pool | None,
        prefix: str,
    ) -> int:
        """Start the step's program and wait for it; its exit status.

        Raises:
            Stopped: It was asked to stop, and has; or did not in time, and was killed.
        """
        context = self._context(plan, step, work, server, beside, teacher)
        environment = own_environment(os.environ) | self.profile.environment | owner_environment()
        environment["PYTHONUNBUFFERED"] = "1"
        environment |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1"}
        environment[COMMAND_VARIABLE] = command_line(sys.argv)
        stop = Path(os.environ.get(STOP_VARIABLE) or work / "stop")  # a job's script watches over one of its own
        if STOP_VARIABLE not in os.environ:
            stop.unlink(missing_ok=True)
        environment[STOP_VARIABLE] = str(stop.resolve())
        if server is not None:
            environment[KEY_VARIABLE] = server.key
        if teacher is not None:
            environment[TEACHER_KEY_VARIABLE] = teacher.key
        if server is None and teacher is None and (servers is None or not servers.starting):
            environment |= self.profile.environment_without_server
        if self.profile.trainer_devices is not None:
            visible = environment.get("CUDA_VISIBLE_DEVICES")
            environment["CUDA_VISIBLE_DEVICES"] = devices_of_ours(self.profile.trainer_devices, visible)
        started = time.monotonic()
        process = self._start(step, context.save(), environment, new_attempt(log))
        try:
            with self.progress.step(prefix, step.name, step.config.stage, work) as shown:
                while (status := process.poll()) is None:
                    shown.refresh()
                    if self.stopping.wait(POLL_SECONDS):
                        raise KeyboardInterrupt
                    if any(one is not None and not one.alive for one in (server, *beside.values(), teacher)):
                        # The step notices by itself when it next asks; one that never asks would wait for its timeout.
                        self._ended_or_killed(process, grace_s=20.0)
        except KeyboardInterrupt:
            asked = time.monotonic()
            written = _touched(stop)
            if not written or not launched(step, self.profile):  # a launcher would hurry its workers; the file does not
                process.terminate()
            grace = grace_s(plan, step, self.profile, work)
            text = f"{prefix} {step.name}: stopping; its optimizer step may end and a resume point be saved"
            with self.progress.waiting(f"{text}, for up to {clock(grace)}; Ctrl-C again kills it"):
                ended = self._ended_or_killed(process, grace)
            how = "stopped" if ended else f"killed after {time.monotonic() - asked:.0f} s, before it had stopped"
            told = stopped(plan, step, work, how, self._how_to_continue())
            if self.stopping.is_set():  # beside others: what ends the run is told by the runner
                self.progress.console.print(f"{prefix} {told.message}", highlight=False, soft_wrap=True)
            raise told from None
        finally:
            if process.poll() is None:  # whatever went wrong here: nothing goes on that nobody watches
                kill_with_children(process.pid)
                process.wait()
        if status == Stopped.exit_status or (status != 0 and stop.exists()):  # behind a launcher every failure is 1
            raise stopped(plan, step, work, "stopped", self._how_to_continue())
        if status == 0:
            self.progress.done(prefix, step.name, step.config.stage, time.monotonic() - started, plan, step)
        return status

    def _start(
        self, step: PlannedStep, context: Path, environment: dict[str, str], log: Path
    ) -> subprocess.Popen[bytes] | WarmProcess:
        if self.profile.warm_start:
            return WarmProcess(".".join(type(step.config).program), context, environment, log)
        with log.open("wb") as output:
            return subprocess.Popen(
                step_command(step, self.profile, context),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the runner alone, which asks the step to save and leave
            )

    def _ended_or_killed(self, process: subprocess.Popen[bytes] | WarmProcess, grace_s: float) -> bool:
        """Whether the process ended by itself within that time."""
        deadline = time.monotonic() + grace_s
        while process.poll() is None:
            if self.killing.wait(POLL_SECONDS) or time.monotonic() > deadline:
                kill_with_children(process.pid)
                process.wait()
                return False
        return True

    def _how_to_continue(self) -> str:
        return f"continue with `{self.again}`"

    def _context(
        self,
        plan: Plan,
        step: PlannedStep,
        work: Path,
        server: Servers | None,
        beside: dict[str, Servers],
        teacher: Servers | None,
    ) -> StepContext:
        if problems := step.problems():
            (work / PROBLEMS_FILE).write_text(lines(map(asdict, problems)), encoding="utf-8")
        return StepContext(
            name=step.name,
            label=step.output,
            root=self.store.resolve(),
            work=work.resolve(),
            inputs={entry.field: input_folder(plan, step, entry.field).resolve() for entry in step.inputs},
            prompt=self.recipe.prompt,
            profile=sized_passes(plan, step, self.profile),
            config=self._config(step),
            stage_file=own_stage(step.config.stage),
            server_urls=server.urls if server is not None else [],
            urls_beside={field: one.urls for field, one in beside.items()},
            transfer_folder=server.transfer_folder if server is not None else None,
            teacher_url=teacher.urls[0] if teacher is not None else None,
            record={
                "kind": type(step.config).publishes,
                "stage": step.config.stage,
                "step": step.name,
                "recipe": self.recipe.name,
                "fingerprint": step.fingerprint,
                "config": step.config.model_dump(mode="json"),
                "identity": step.identity,
                "inputs": {
                    entry.field: {
                        "reference": entry.reference,
                        "fingerprint": entry.fingerprint,
                        "artifact": entry.artifact,
                    }
                    for entry in step.inputs
                },
                "label_spend": [asdict(spend) for spend in step.lineage],
            },
        )

    def _config(self, step: PlannedStep) -> dict[str, object]:
        values = step.config.model_dump(mode="json")
        for name in fields_marked(type(step.config), File).keys() & values:  # the step's program runs in another folder
            values[name] = self._whole(values[name])
        return values

    def _whole(self, named: Any) -> Any:
        if isinstance(named, dict):
            return {name: self._whole(path) for name, path in named.items()}
        if isinstance(named, list):
            return [self._whole(path) for path in named]
        return str(self.recipe.folder / Path(named).expanduser()) if named is not None else None


def _touched(stop: Path) -> bool:
    """Whether the file that asks a step to stop stands now; its folder may be gone, or the disk full."""
    try:
        stop.touch()
    except OSError:
        return False
    return True


def step_command(step: PlannedStep, profile: HardwareProfile, context: Path) -> list[str]:
    """What the runner starts. Raises RecipeError where the profile's launcher cannot work."""
    program = ["-m", *type(step.config).program, str(context)]
    return launch_command(profile, program) if launched(step, profile) else [sys.executable, *program]


def launched(step: PlannedStep, profile: HardwareProfile) -> bool:
    """Whether a launcher stands between the runner and the step's program."""
    return type(step.config).heavy and has_launcher(profile)
