"""Each step of a plan on a hardware profile: device memory, tokens, operations, hours, disk, and what cannot fit."""

from __future__ import annotations

from dataclasses import dataclass, field

from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.estimates.fitting import compared, server_of_step, trainer_problems, training_task
from reasoning_pipeline.estimates.hours import optimizer_step, seconds_around
from reasoning_pipeline.estimates.layout import Layout, layout_of
from reasoning_pipeline.estimates.lengths import Lengths
from reasoning_pipeline.estimates.memory import ServerMemory, TrainingTask, trainer_parts
from reasoning_pipeline.estimates.shapes import ModelShape
from reasoning_pipeline.estimates.tasks import Task, task_of, work_of
from reasoning_pipeline.estimates.work import forward_flops, training_flops
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.plan.graph import Plan, PlannedStep
from reasoning_pipeline.recipe.stage import Evaluation

ASSUMED_PROMPT_TOKENS = 200
"""Mean length of a prompt where only its limit is known; competition problems have 50 to 300 tokens."""
ASSUMED_COMPLETION_SHARE = 0.25
"""Mean length of a completion as a share of its limit, likewise: a guess that `--mean-completion` replaces."""
BYTES_PER_ROLLOUT_TOKEN = 25
"""Of rollouts.jsonl: a token id, its log-probability, its share of the text."""
BYTES_PER_SAMPLE_TOKEN = 6
"""Of an evaluation's samples: text."""
RESUME_POINTS = 2
"""On disk at a time: the last one goes when the next one is whole."""


@dataclass(frozen=True, kw_only=True)
class StepEstimate:
    """What one step takes. None and empty mean: does not apply, or cannot be known here."""

    step: str
    evaluation: bool = False
    trainer: dict[str, int] = field(default_factory=dict)
    """Part -> bytes of one trainer device at its fullest."""
    tokens_per_pass: int | None = None
    """Most tokens of one forward and backward pass of a device."""
    server: ServerMemory | None = None
    tokens_written: float = 0.0
    """Completion tokens that servers generate."""
    tokens_trained: float = 0.0
    """Prompt and completion tokens through the backward pass."""
    flops: float = 0.0
    """Of the trainers; what servers compute is in the hours."""
    hours: float | None = None
    disk: int = 0
    """Bytes that stay."""
    disk_while_running: int = 0
    """Bytes on top, until it is published."""
    problems: tuple[str, ...] = ()
    """Why it cannot run there, each with a number and what to change."""

    @property
    def trainer_bytes(self) -> int:
        return sum(self.trainer.values())


def estimate_plan(plan: Plan, profile: HardwareProfile, mean_completion: int | None = None) -> list[StepEstimate]:
    """Every step, in the plan's order.

    Args:
        mean_completion: Tokens of a completion on average; a quarter of its limit where None.
    """
    layout = layout_of(profile)
    served: set[ModelShape] = set()
    return [_estimate(plan, step, profile, layout, mean_completion, served) for step in plan.steps]


def what_cannot_fit(estimates: list[StepEstimate]) -> list[str]:
    """Every problem once, after the names of the steps that have it."""
    steps: dict[str, list[str]] = {}
    for estimate in estimates:
        for problem in estimate.problems:
            steps.setdefault(problem, []).append(estimate.step)
    return [f"{', '.join(names)}: {problem}" for problem, names in steps.items()]


def refuse_what_cannot_fit(estimates: list[StepEstimate], profile: HardwareProfile) -> None:
    """Raises RecipeError where a device is too small for a step, or a batch cannot be divided as the profile says."""
    problems = what_cannot_fit(estimates)
    if problems:
        raise RecipeError(profile.name, problems)


def check_fit(plan: Plan, profile: HardwareProfile, steps: list[PlannedStep]) -> None:
    """The same for the steps that are about to run. Raises RecipeError; of memory only where the profile names any."""
    names = {step.name for step in steps}
    refuse_what_cannot_fit([e for e in estimate_plan(plan, profile) if e.step in names], profile)


def seconds_per_optimizer_step(plan: Plan, step: PlannedStep, profile: HardwareProfile) -> float | None:
    """The longest that one may take, every completion at its limit. None where nothing is trained, or where the profile
    does not say how fast its devices are."""
    work = work_of(plan, step)
    if work is None or not work.trains or not work.steps:
        return None
    hours = _estimate(plan, step, profile, layout_of(profile), work.completion_limit or None, set()).hours
    return hours * 3600 / work.steps if hours is not None else None


def _estimate(
    plan: Plan,
    step: PlannedStep,
    profile: HardwareProfile,
    layout: Layout,
    mean_completion: int | None,
    served: set[ModelShape],
) -> StepEstimate:
    """`served`: models that a server was started for by steps before; this one's is added."""
    scores = isinstance(step.config, Evaluation)
    task = task_of(plan, step)
    if task is None:
        return StepEstimate(step=step.name, evaluation=scores)
    work = task.work
    mean = float(min(mean_completion or work.completion_limit * ASSUMED_COMPLETION_SHARE, work.completion_limit))
    prompt = float(min(ASSUMED_PROMPT_TOKENS, work.prompt_limit))
    lengths = Lengths(mean, float(work.completion_limit)) if mean else None
    attended = lengths.attended(prompt) if lengths is not None else prompt
    rollouts = work.rows * work.steps
    problems: list[str] = []
    trainer: dict[str, int] = {}
    training = training_task(task, profile, layout, problems) if work.trains else None
    if training is not None:
        trainer = trainer_parts(training, layout.placement)
        problems += trainer_problems(training, trainer, layout)
    if work.compares:
        trainer = compared(task, layout, problems)
    server = server_of_step(task, layout, problems) if work.generates else None
    written = rollouts * mean if work.generates else 0.0
    trained = rollouts * (prompt + mean) if work.trains else 0.0
    flops = _flops(task, trained, attended, profile) if work.trains else 0.0
    if work.compares and task.teacher is not None:
        scored = rollouts * (prompt + mean)
        flops = sum(forward_flops(shape, scored, attended) for shape in (task.policy, task.teacher))
    hours = None
    if lengths is not None and (one := optimizer_step(work, task.policy, flops, lengths, prompt, server, layout)):
        starts = work.generates and task.policy not in served
        times = work.steps if work.trains else 1
        hours = (times * one.seconds + seconds_around(work, task.policy, starts_server=starts)) / 3600
    if work.generates:
        served.add(task.policy)
    return StepEstimate(
        step=step.name,
        evaluation=scores,
        trainer=trainer,
        tokens_per_pass=training.micro_batch * training.tokens if training is not None else None,
        server=server,
        tokens_written=written,
        tokens_trained=trained,
        flops=flops,
        hours=hours,
        disk=_disk(step, task, written),
        disk_while_running=RESUME_POINTS * 12 * _saved(task, training),
        problems=tuple(problems),
    )


# Work and disk


def _flops(task: Task, tokens: float, length: float, profile: HardwareProfile) -> float:
    flops = training_flops(task.policy, tokens, length, checkpointing=profile.gradient_checkpointing)
    flops += task.work.scorings * forward_flops(task.policy, tokens, length)
    if task.teacher is not None:
        flops += forward_flops(task.teacher, tokens, length)
    return flops


def _disk(step: PlannedStep, task: Task, written: float) -> int:
    kind = type(step.config).publishes
    if kind == "checkpoint":
        return 4 * task.policy.parameters  # published in the trainer's float32
    return int(written * (BYTES_PER_ROLLOUT_TOKEN if kind == "rollouts" else BYTES_PER_SAMPLE_TOKEN))


def _saved(task: Task, training: TrainingTask | None) -> int:
    """Parameters in a resume point, each with its two moments: of a step that trains adapters theirs alone."""
    if training is None:
        return 0
    return task.policy.parameters if training.lora_parameters is None else training.lora_parameters
