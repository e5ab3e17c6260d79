"""Walks a plan: skip what is complete, run what is ready, stop clearly. Each step is a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from reasoning_pipeline.compatibility import check_distillations
from reasoning_pipeline.errors import RecipeError, ServerLost, StepFailed, Stopped
from reasoning_pipeline.hardware import HardwareProfile
from reasoning_pipeline.jsonl import lines
from reasoning_pipeline.ownership import owner_environment
from reasoning_pipeline.plan import EVALUATE, Plan, PlannedInput, PlannedStep, external_folder, make_plan
from reasoning_pipeline.progress import Progress
from reasoning_pipeline.recipe import Recipe
from reasoning_pipeline.registry.resolve import resolve_model
from reasoning_pipeline.registry.store import write_json
from reasoning_pipeline.rollouts.client import KEY_VARIABLE
from reasoning_pipeline.rollouts.server import RolloutServer, tail
from reasoning_pipeline.run_lock import run_lock
from reasoning_pipeline.run_step import PROBLEMS_FILE, StepContext
from reasoning_pipeline.server_pool import ServerPool
from reasoning_pipeline.validation import suggestion

LOG_LINES_SHOWN = 20
STOP_GRACE_SECONDS = 60.0
POLL_SECONDS = 0.2
ACCELERATE_CONFIGS = Path(__file__).resolve().parent.parent / "launch" / "accelerate"


class Runner:
    """Runs the steps of one recipe on this machine.

    Args:
        console: Where progress goes.
    """

    def __init__(self, recipe: Recipe, profile: HardwareProfile, root: Path, console: Console) -> None:
        self.recipe, self.profile, self.root, self.console = recipe, profile, root, console
        self.folder = root / recipe.name
        self.progress = Progress(console)

    def run(self, *, only: str | None = None, until: str | None = None) -> tuple[Plan, int]:
        """Run what is not complete; returns the plan as it stands afterwards, and how many steps ran.

        Raises:
            StepFailed: With the step's name, the end of its log and the log's path.
            Stopped: On Ctrl-C or SIGTERM, after the step has saved a resume point.
        """
        plan = make_plan(self.recipe, self.root)
        wanted = selected(plan, only, until)
        todo = [step for step in wanted if not step.complete]
        self.folder.mkdir(parents=True, exist_ok=True)
        if not todo:
            return plan, 0
        check_distillations(plan)
        with run_lock(self.folder), _terminable(), self._servers(plan) as servers:
            write_json(self.folder / "plan.json", plan.as_json())
            left = list(todo)
            while left:
                self._start_servers_ahead(plan, left, servers)
                step = self._next(plan, left, servers)
                left.remove(step)
                self._run_step(plan, step, servers, f"[{len(todo) - len(left)}/{len(todo)}]")
                plan = make_plan(self.recipe, self.root)
                left = [step for step in left if not plan.step(step.name).complete]  # equal steps are done once
            write_json(self.folder / "plan.json", plan.as_json())
        return plan, len(todo)

    @contextmanager
    def _servers(self, plan: Plan) -> Iterator[ServerPool | None]:
        if self.profile.engine != "vllm":
            yield None
            return
        pool = ServerPool(
            self.profile, self.folder / "logs", plan.registry.folder, max_model_len=longest_sequence(self.recipe)
        )
        try:
            yield pool
        finally:
            pool.stop()

    def _start_servers_ahead(self, plan: Plan, steps: list[PlannedStep], servers: ServerPool | None) -> None:
        """A server takes half a minute to start; do that while steps that need none are training."""
        if servers is None:
            return
        for step in steps:
            folder = self._generator_folder(plan, step)
            if folder is not None and folder.is_dir():
                servers.prestart(folder)

    def _next(self, plan: Plan, left: list[PlannedStep], servers: ServerPool | None) -> PlannedStep:
        """The first step whose inputs are complete, passing over those whose server is still starting."""
        ready = [step for step in left if self._missing_input(plan, step) is None]
        for step in ready:
            folder = self._generator_folder(plan, step)
            if servers is None or folder is None or servers.answers(folder):
                return step
        return ready[0] if ready else left[0]

    @staticmethod
    def _missing_input(plan: Plan, step: PlannedStep) -> PlannedInput | None:
        for entry in step.inputs:
            if entry.step is not None and not plan.step(entry.step).complete:
                return entry
        return None

    def _generator_folder(self, plan: Plan, step: PlannedStep) -> Path | None:
        """The folder of the model a step generates with, or None where it generates nothing."""
        field = type(step.config).generates_with
        return self._input_folder(plan, step, field) if field is not None else None

    def _input_folder(self, plan: Plan, step: PlannedStep, field: str) -> Path:
        entry = step.input(field)
        if entry.artifact is not None:
            return plan.registry.folder / entry.artifact
        return external_folder(entry.reference, self.recipe) or resolve_model(entry.reference, self.root).folder

    def _run_step(self, plan: Plan, step: PlannedStep, servers: ServerPool | None, prefix: str) -> None:
        if (missing := self._missing_input(plan, step)) is not None:
            raise RecipeError(
                step.name, [f"needs {missing.reference}, which is not complete; run it first (drop --only)"]
            )
        work = self.root / "work" / step.output
        work.mkdir(parents=True, exist_ok=True)
        log = self.folder / "logs" / f"{step.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        generator = self._generator_folder(plan, step)
        for attempt in (1, 2):
            server = None
            if servers is not None and generator is not None:
                with self.progress.waiting(f"{prefix} {step.name}: waiting for the rollout server"):
                    server = servers.ready(generator) if attempt == 1 else servers.restart(generator)
            status = self._process(plan, step, work, log, server, servers, prefix)
            lost = status == ServerLost.exit_status or (server is not None and not server.alive and status != 0)
            if not lost:
                break
            if attempt == 1:
                self.console.print(
                    f"{prefix} {step.name}: the rollout server was lost; restarting it, the step resumes"
                )
        if status == Stopped.exit_status:
            raise Stopped(f"{step.name} was stopped; its resume point is kept", remedy=self._how_to_continue())
        if status != 0:
            server_lines = f"\n  the server's log ended with\n{server.log_tail()}" if lost and server else ""
            raise StepFailed(
                f"step {step.name} failed ({_ending(status)}); its log ended with\n"
                f"{tail(log, LOG_LINES_SHOWN)}{server_lines}",
                remedy=f"full log: {log}",
            )
        if plan.registry.find(step.config.stage, step.fingerprint) is None:
            raise StepFailed(f"step {step.name} ended without publishing {step.output}", remedy=f"full log: {log}")
        shutil.rmtree(work, ignore_errors=True)

    def _process(
        self,
        plan: Plan,
        step: PlannedStep,
        work: Path,
        log: Path,
        server: RolloutServer | None,
        servers: ServerPool | None,
        prefix: str,
    ) -> int:
        context = self._context(plan, step, work, server)
        environment = {**os.environ, **self.profile.environment, **owner_environment(), "PYTHONUNBUFFERED": "1"}
        environment |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1"}
        if server is not None:
            environment[KEY_VARIABLE] = server.key
        elif servers is None or not servers.starting:
            environment |= self.profile.environment_without_server
        if self.profile.trainer_devices is not None:
            environment["CUDA_VISIBLE_DEVICES"] = self.profile.trainer_devices
        started = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                step_command(step, self.profile, context.save()),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the runner alone, which asks the step to save and leave
            )
        try:
            with self.progress.step(prefix, step.name, step.config.stage, work) as shown:
                while (status := process.poll()) is None:
                    shown.refresh()
                    time.sleep(POLL_SECONDS)
                    if server is not None and not server.alive:
                        # The step notices by itself when it next asks; one that never asks would wait for its timeout.
                        self._wait_or_kill(process, grace_s=20.0)
        except KeyboardInterrupt:
            with self.progress.waiting(f"{prefix} {step.name}: stopping; saving a resume point"):
                process.terminate()
                self._wait_or_kill(process, grace_s=STOP_GRACE_SECONDS)
            return Stopped.exit_status
        if status == 0:
            self.progress.done(prefix, step.name, step.config.stage, time.monotonic() - started, plan, step)
        return status

    @staticmethod
    def _wait_or_kill(process: subprocess.Popen[bytes], grace_s: float) -> None:
        try:
            process.wait(timeout=grace_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _context(self, plan: Plan, step: PlannedStep, work: Path, server: RolloutServer | None) -> StepContext:
        problems = plan.ledger.problems(tuple(spend.pool for spend in step.spends)) or self._prompt_problems(plan, step)
        if problems:
            (work / PROBLEMS_FILE).write_text(lines(map(asdict, problems)), encoding="utf-8")
        subject = step.input("checkpoint").step if step.config.stage == EVALUATE else step.name
        spends = plan.ledger.spent_by_lineage(subject) if subject in self.recipe.steps else []
        return StepContext(
            name=step.name,
            label=step.output,
            root=self.root.resolve(),
            work=work.resolve(),
            inputs={entry.field: self._input_folder(plan, step, entry.field).resolve() for entry in step.inputs},
            prompt=self.recipe.prompt,
            profile=self.profile,
            config=self._config(step),
            server_url=server.url if server is not None else None,
            transfer_folder=server.transfer_folder if server is not None else None,
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
                "label_spend": [asdict(spend) for spend in spends],
            },
        )

    def _config(self, step: PlannedStep) -> dict[str, object]:
        values = step.config.model_dump(mode="json")
        if isinstance(values.get("data"), dict):  # suite files: the step's program runs in another folder
            base = Path(self.recipe.path).resolve().parent
            values["data"] = {suite: str(base / path) for suite, path in values["data"].items()}
        return values

    def _prompt_problems(self, plan: Plan, step: PlannedStep) -> list:
        pools = getattr(step.config, "prompts", ())
        if pools:
            return plan.ledger.problems(pools)
        data = getattr(step.config, "data", None)
        return plan.ledger.data(data) if isinstance(data, str) else []

    def _how_to_continue(self) -> str:
        return f"continue with `python -m reasoning_pipeline run {self.recipe.path}`"


def step_command(step: PlannedStep, profile: HardwareProfile, context: Path) -> list[str]:
    """The command line of a step's program."""
    if step.config.stage == EVALUATE:
        return [sys.executable, "-m", "evals", "step", str(context)]
    program = ["-m", "reasoning_pipeline.run_step", str(context)]
    if profile.accelerate_config is None or not type(step.config).heavy:
        return [sys.executable, *program]
    config = Path(profile.accelerate_config)
    config = config if config.is_file() else ACCELERATE_CONFIGS / profile.accelerate_config
    if not config.is_file():
        raise RecipeError(profile.name, [f"accelerate_config: no file {profile.accelerate_config!r}"])
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(config)]
    return [sys.executable, *launch, "--num_processes", str(profile.processes), *program]


def selected(plan: Plan, only: str | None, until: str | None) -> list[PlannedStep]:
    """The steps a command line asks for. Raises RecipeError for a name that does not exist."""
    for name in (only, until):
        if name is not None and name not in plan.names():
            raise RecipeError(str(plan.recipe.path), [f"no step is called {name!r}{suggestion(name, plan.names())}"])
    if only is not None:
        return [plan.step(only)]
    if until is not None:
        last = plan.names().index(until)
        names = {until}
        for step in reversed(plan.steps[: last + 1]):
            if step.name in names:
                names.update(entry.step for entry in step.inputs if entry.step is not None)
        return [step for step in plan.steps if step.name in names]
    return list(plan.steps)


def longest_sequence(recipe: Recipe) -> int:
    """Prompt plus completion tokens of the longest request any step makes."""
    lengths = [
        getattr(config, "max_prompt_tokens", 0) + getattr(config, "max_completion_tokens", 0)
        for config in recipe.steps.values()
    ]
    prompt = max((getattr(config, "max_prompt_tokens", 0) for config in recipe.steps.values()), default=0)
    evaluation = recipe.evaluate.max_tokens + max(prompt, 2048) if recipe.evaluate is not None else 0
    return max(*lengths, evaluation, 64)


def _ending(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM means the same as Ctrl-C: stop children, keep checkpoints."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped("stopped", remedy="run the same command again to continue") from None
    finally:
        signal.signal(signal.SIGTERM, previous)
