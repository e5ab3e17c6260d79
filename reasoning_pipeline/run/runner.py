"""Walks a plan: skip what is complete, run what is ready, stop clearly. Each step is a process of its own."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from reasoning_pipeline.base.locks import held_elsewhere, run_lock, step_lock
from reasoning_pipeline.beside import PIPELINE
from reasoning_pipeline.errors import RecipeError, ServerError, ServerLost, StepFailed, Stopped
from reasoning_pipeline.estimates.steps import check_fit
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.plan import judging
from reasoning_pipeline.plan.compatibility import check_models
from reasoning_pipeline.plan.graph import Plan, PlannedInput, PlannedStep
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.plan.selection import selected, unfetched_models
from reasoning_pipeline.recipe.model import MAIN, Recipe
from reasoning_pipeline.registry.resolve import resolve_model
from reasoning_pipeline.registry.store import write_json
from reasoning_pipeline.rollouts.servers import register
from reasoning_pipeline.rollouts.servers.pool import Servers
from reasoning_pipeline.run.executor import step_executor
from reasoning_pipeline.run.failure import why_it_failed
from reasoning_pipeline.run.process import StepProcess, launched
from reasoning_pipeline.run.progress import Progress
from reasoning_pipeline.run.serving import Serving, serving
from reasoning_pipeline.run.stopping import kept, terminable
from reasoning_pipeline.run.tracking import followed, require_trackers


class Runner:
    """Runs the steps of one recipe on this machine.

    Args:
        root: Holds the run folder: logs, plan and report.
        console: Where progress goes.
        store: Holds the registry and the steps' work folders; `root` where it is not given.
        before: Told the plan of what is about to run, and may refuse it.
        again: The command line by which a person continues what was stopped.
        given: The recipe with the options by which it was named, for other commands.
    """

    def __init__(
        self,
        recipe: Recipe,
        profile: HardwareProfile,
        root: Path,
        console: Console,
        *,
        store: Path | None = None,
        before: Callable[[Plan], None] = lambda plan: None,
        again: str = "",
        given: str = "",
    ) -> None:
        self.recipe, self.profile, self.root, self.console = recipe, profile, root, console
        self.store = store or root
        self._before, self._given = before, given or str(recipe.path)
        self.folder = root / recipe.name
        self.progress = Progress(console)
        self._process = StepProcess(
            recipe, profile, self.store, self.progress, again or f"{PIPELINE} run {self._given}"
        )

    def run(
        self,
        *,
        arms: Sequence[str] = (MAIN,),
        seeds: Sequence[int] = (),
        only: str | None = None,
        until: str | None = None,
    ) -> tuple[Plan, int]:
        """Run what is not complete; returns the plan as it stands afterwards, and how many steps ran.

        Args:
            arms: Names of arms, or `all`. What they share is run once.
            seeds: Everything once under each of these; the recipe's own seed where none is given.

        Raises:
            StepFailed: With the step's name, the lines of its log that say why, and the log's path.
            Stopped: On Ctrl-C or SIGTERM, after the step has saved a resume point or was killed; it says which.
        """
        require_trackers(self.profile)
        whole = make_plan(self.recipe, self.root, seeds, store=self.store)
        if unfetched := unfetched_models(whole):
            # Which commit a branch means is part of an identity, and known before anything runs.
            for reference in unfetched:
                with self.progress.waiting(f"fetching {reference} from the hub"):
                    resolve_model(reference, self.store)
            whole = make_plan(self.recipe, self.root, seeds, store=self.store)
        for move in whole.pins.moved(ask=False):
            self.console.print(move.told(self._given), highlight=False, soft_wrap=True)
        plan = whole if only or until else whole.of_arms(arms)  # a step's name says which arm it belongs to
        wanted = selected(plan, only, until)
        todo = [step for step in wanted if not step.complete]
        self.folder.mkdir(parents=True, exist_ok=True)
        self._clear_work(plan)
        if not todo:
            return plan.of_arms(arms), 0
        judging.enforce(plan)
        self._before(replace(plan, steps=tuple(todo), given=self._given))
        check_models(plan, whole=True)
        check_fit(plan, self.profile, todo)
        # Steps of one recipe may run side by side, each in a job of its own; a step itself is made by one at a time.
        lock = run_lock(self.folder) if only is None else nullcontext()
        logs = self.folder / "logs" / (only or "")
        with (
            lock,
            terminable(self._process.killing),
            serving(self.profile, plan, logs, self.root / register.FOLDER) as servers,
        ):
            write_json(self.folder / "plan.json", plan.as_json())
            plan = self._walk(plan, todo, servers)
            write_json(self.folder / "plan.json", plan.as_json())
        return plan.of_arms(arms), len(todo)

    def _walk(self, plan: Plan, todo: Sequence[PlannedStep], servers: Serving) -> Plan:
        """Run each step once what it reads is complete, as many at a time as the profile says; the plan afterwards."""
        left, running = list(todo), dict[Future[None], PlannedStep]()
        self.progress.begin([step.config.stage for step in todo])
        self._process.begin()
        with step_executor(self.profile.parallel_steps) as executor:
            try:
                while left or running:
                    while left and len(running) < self.profile.parallel_steps:
                        servers.start_ahead(plan, left)
                        if (step := self._next(plan, left, list(running.values()), servers)) is None:
                            break
                        left.remove(step)
                        prefix = f"[{len(todo) - len(left)}/{len(todo)}]"
                        running[executor.submit(self._run_step, plan, step, servers, prefix)] = step
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        step = running.pop(future)
                        future.result()
                        plan = plan.refreshed()
                        self._judge(plan, step)
                    left = [step for step in left if not plan.step(step.name).complete]  # equal steps are done once
            except BaseException:
                self._process.stopping.set()  # what runs beside saves a resume point and leaves
                for future in wait(running).done:
                    if (error := future.exception()) is not None and not isinstance(error, Stopped):
                        self.console.print(f"{running[future].name}: {error!r}", highlight=False, markup=False)
                raise
        return plan

    def _clear_work(self, plan: Plan) -> None:
        """Work folders of complete steps: what a runner leaves that is killed right after a step has published."""
        for step in plan.steps:
            work = self.store / "work" / step.output
            if step.complete and work.is_dir() and held_elsewhere(work.with_name(f"{work.name}.lock")) is None:
                shutil.rmtree(work, ignore_errors=True)

    def _next(
        self, plan: Plan, left: list[PlannedStep], running: list[PlannedStep], servers: Serving
    ) -> PlannedStep | None:
        """The first step whose inputs are complete, passing over those whose server is still starting; None where all
        wait for a running one."""
        ready = [
            step
            for step in left
            if self._missing_input(plan, step) is None and not judging.overtakes(plan, step, [*left, *running])
        ]
        for step in ready:
            if not servers.keeps_waiting(plan, step):
                return step
        return ready[0] if ready else None if running else left[0]

    def _judge(self, plan: Plan, step: PlannedStep) -> None:
        """Say what a measurement means for its gate. Raises GateFailed where the recipe says that it ends the run."""
        judged = judging.judgement(plan, plan.step(step.name))
        if judged is not None:
            judging.enforce(plan)
            warning = "warning: " if judged.held is False else ""
            self.console.print(f"  {warning}{judged.sentence}", highlight=False, soft_wrap=True)

    @staticmethod
    def _missing_input(plan: Plan, step: PlannedStep) -> PlannedInput | None:
        for entry in step.inputs:
            if entry.step is not None and not plan.step(entry.step).complete:
                return entry
        return None

    def _run_step(self, plan: Plan, step: PlannedStep, servers: Serving, prefix: str) -> None:
        if (missing := self._missing_input(plan, step)) is not None:
            raise RecipeError(
                step.name, [f"needs {missing.reference}, which is not complete; run it first (drop --only)"]
            )
        work = self.store / "work" / step.output
        with step_lock(work, self.progress.waiting):
            if plan.registry.find(step.config.stage, step.fingerprint) is not None:
                self.console.print(f"{prefix} {step.name}: another run has made it meanwhile", highlight=False)
                return
            log = self.folder / "logs" / f"{step.name}.tracking.log"
            with followed(plan, step, self.profile, work, log, self.console.print):
                self._make(plan, step, work, servers, prefix)
            shutil.rmtree(work, ignore_errors=True)

    def _make(self, plan: Plan, step: PlannedStep, work: Path, servers: Serving, prefix: str) -> None:
        """Run the step's program, as often as a server is lost and work has been kept since one was lost before."""
        work.mkdir(parents=True, exist_ok=True)
        log = self.folder / "logs" / f"{step.name}.log"
        teacher: Servers | None = None

        def waiting(what: str) -> AbstractContextManager[None]:
            return self.progress.waiting(f"{prefix} {step.name}: {what}")

        lost_at, before = -1, ""  # what was kept when a server was last lost, and the end of that one's log
        while True:
            restart = bool(before) and (teacher is None or teacher.alive)
            try:
                server, beside, teacher = servers.ready(plan, step, waiting, restart=restart)
            except ServerError as error:
                if not before:
                    raise
                raise StepFailed(f"step {step.name}: {error.message}{before}", remedy=error.remedy) from error
            status = self._process.run(plan, step, work, log, server, beside, teacher, servers.pool, prefix)
            dead = [one for one in (server, *beside.values(), teacher) if one is not None and not one.alive]
            if status == 0 or not (dead or status == ServerLost.exit_status):
                before = ""
                break
            told = "".join(f"\n{one.log_tail()}" for one in dead or ([server] if server is not None else []))
            now = kept(work, step.config.publishes)
            if before and now <= lost_at:
                before = f"\n  the server's log ended with{told}{before}"
                break
            lost_at, before = now, f"\n  and no work was kept since one was lost whose log ended with{told}"
            which = "teacher's" if teacher in dead else "rollout"
            self.console.print(
                f"{prefix} {step.name}: the {which} server was lost; restarting it, the step resumes "
                f"(its log until here becomes {log.stem}.1{log.suffix})"
            )
        if status != 0:
            why = why_it_failed(log, launched=launched(step, self.profile))
            raise StepFailed(f"step {step.name} failed ({_ending(status)}); {why}{before}", remedy=f"full log: {log}")
        if plan.registry.find(step.config.stage, step.fingerprint) is None:
            raise StepFailed(f"step {step.name} ended without publishing {step.output}", remedy=f"full log: {log}")


def _ending(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"
