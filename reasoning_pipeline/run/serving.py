"""The servers of one run: whose model each step needs served, which are started ahead, which was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.plan.compatibility import outside_folders
from reasoning_pipeline.plan.graph import Plan, PlannedStep
from reasoning_pipeline.recipe.stage import Evaluation
from reasoning_pipeline.rollouts.servers.pool import Pool, ServerPool, Servers, server_pool
from reasoning_pipeline.rollouts.servers.teacher import TeacherServers, asks_a_server
from reasoning_pipeline.run.process import input_folder


class Serving:
    """Rollout servers and the teacher's, as the profile has them.

    Args:
        pool, teachers: None where the profile's engine is no server.
    """

    def __init__(
        self, profile: HardwareProfile, pool: Pool | None = None, teachers: TeacherServers | None = None
    ) -> None:
        self.profile, self.pool, self.teachers = profile, pool, teachers

    def start_ahead(self, plan: Plan, steps: Sequence[PlannedStep]) -> None:
        """A server takes half a minute to start; do that while steps that need none are training."""
        if self.pool is None:
            return
        for step in steps:
            folder = _generator_folder(plan, step)
            if folder is not None and folder.is_dir():
                self.pool.prestart(folder)

    def keeps_waiting(self, plan: Plan, step: PlannedStep) -> bool:
        """Whether the step's server is still starting."""
        folder = _generator_folder(plan, step)
        return self.pool is not None and folder is not None and not self.pool.answers(folder)

    def ready(
        self, plan: Plan, step: PlannedStep, waiting: Callable[[str], AbstractContextManager[None]], *, restart: bool
    ) -> tuple[Servers | None, dict[str, Servers], Servers | None]:
        """(what the step generates with, further fields' servers, its teacher's); None or nothing where the step needs
        none; all answer.

        Args:
            waiting: Shown what is waited for.
            restart: Whether the first is started anew.

        Raises:
            RecipeError: The profile keeps fewer servers than the step's models need.
        """
        server: Servers | None = None
        beside: dict[str, Servers] = {}
        teacher: Servers | None = None
        generator = _generator_folder(plan, step)
        advisor = input_folder(plan, step, "teacher") if asks_a_server(step.config, self.profile) else None
        if advisor is not None and self.teachers is not None:
            self.teachers.prestart(advisor)
        if self.pool is not None and generator is not None:
            with waiting("waiting for the rollout server"):
                for field in step.config.generators_beside:
                    beside[field] = self.pool.ready(input_folder(plan, step, field))
                server = self.pool.restart(generator) if restart else self.pool.ready(generator)
            if not all(one.alive for one in beside.values()):
                most = self.profile.server.max_servers
                raise RecipeError(step.name, [f"its models need more servers than server.max_servers: {most}"])
        if advisor is not None and self.teachers is not None:
            with waiting("waiting for the teacher's server"):
                teacher = self.teachers.ready(advisor)
        return server, beside, teacher


@contextmanager
def serving(profile: HardwareProfile, plan: Plan, logs: Path, register_folder: Path) -> Iterator[Serving]:
    """The servers that a plan's steps may ask for, started when they are, stopped at the end."""
    if profile.engine != "vllm":
        yield Serving(profile)
        return
    longest = longest_sequence(plan)
    outside = outside_folders(plan)
    pool = server_pool(profile, logs, plan.registry.folder, longest, register_folder, outside)
    teachers = TeacherServers(
        profile,
        lambda its_profile: ServerPool(
            its_profile,
            logs / "teacher",
            plan.registry.folder,
            max_model_len=longest + 1,  # scoring a sequence writes one token
            register=register_folder,
            outside=outside,
        ),
    )
    try:
        yield Serving(profile, pool, teachers)
    finally:
        pool.stop()
        teachers.stop()


def longest_sequence(plan: Plan) -> int:
    """Prompt plus completion tokens of the longest request any step of any arm makes."""
    asked = [(step.config.lengths(), isinstance(step.config, Evaluation)) for step in plan.steps]
    longest_prompt = max((prompt for (prompt, _), _ in asked), default=0)
    # A benchmark's prompts have no limit of their own; they are taken to be no longer than the recipe's.
    return max(64, *(written + (longest_prompt if scores else prompt) for (prompt, written), scores in asked))


def _generator_folder(plan: Plan, step: PlannedStep) -> Path | None:
    """The folder of the model a step generates with, or None where it generates nothing."""
    field = step.config.generator
    return input_folder(plan, step, field) if field is not None else None
