"""Each step of a plan on a hardware profile: device memory, tokens, operations, hours, disk, and what cannot fit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reasoning_pipeline.data.suites.spec import suite_rows
from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.estimates.layout import GIB, Layout, largest, layout_of
from reasoning_pipeline.estimates.memory import (
    Placement,
    ServerMemory,
    TrainingTask,
    comparing_parts,
    resident,
    trainer_parts,
)
from reasoning_pipeline.estimates.shapes import ModelShape, lora_parameters, shape_of_input
from reasoning_pipeline.estimates.work import forward_flops, training_flops
from reasoning_pipeline.hardware.profile import HardwareProfile, accumulation
from reasoning_pipeline.plan.graph import Plan, PlannedStep
from reasoning_pipeline.recipe.stage import Evaluation
from reasoning_pipeline.recipe.work import Known, Work

if TYPE_CHECKING:
    from collections.abc import Iterator

ASSUMED_PROMPT_TOKENS = 200
"""Mean length of a prompt where only its limit is known; competition problems have 50 to 300 tokens."""
ASSUMED_COMPLETION_SHARE = 0.25
"""Mean length of a completion as a share of its limit, likewise: a guess that `--mean-completion` replaces."""
BYTES_PER_ROLLOUT_TOKEN = 25
"""Of rollouts.jsonl: a token id, its log-probability, its share of the text."""
BYTES_PER_SAMPLE_TOKEN = 6
"""Of an evaluation's samples: text."""
ENOUGH_TOKENS = 32_768
"""A pass that the plan sizes holds no more, or one row: matrix products gain nothing from more, and gathering the
layers of a divided model (two bytes a parameter over the fabric) is far below the work on so many tokens."""
PASS_MARGIN = 0.1
"""Share of a device's memory that the plan leaves free when it sizes passes: twice what the estimate was found off."""
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


@dataclass(frozen=True, kw_only=True)
class _Task:
    """A step's work, with the shapes of its models."""

    work: Work
    policy: ModelShape
    teacher: ModelShape | None


def estimate_plan(plan: Plan, profile: HardwareProfile, mean_completion: int | None = None) -> list[StepEstimate]:
    """Every step, in the plan's order.

    Args:
        mean_completion: Tokens of a completion on average; a quarter of its limit where None.
    """
    layout = layout_of(profile)
    return [_estimate(plan, step, profile, layout, mean_completion) for step in plan.steps]


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
    hours = _estimate(plan, step, profile, layout_of(profile), work.completion_limit or None).hours
    return hours * 3600 / work.steps if hours is not None else None


def _estimate(
    plan: Plan, step: PlannedStep, profile: HardwareProfile, layout: Layout, mean_completion: int | None
) -> StepEstimate:
    scores = isinstance(step.config, Evaluation)
    task = _task(plan, step)
    if task is None:
        return StepEstimate(step=step.name, evaluation=scores)
    work = task.work
    mean = float(min(mean_completion or work.completion_limit * ASSUMED_COMPLETION_SHARE, work.completion_limit))
    prompt = float(min(ASSUMED_PROMPT_TOKENS, work.prompt_limit))
    rollouts = work.rows * work.steps
    problems: list[str] = []
    trainer: dict[str, int] = {}
    training = _training_task(task, profile, layout, problems) if work.trains else None
    if training is not None:
        trainer = trainer_parts(training, layout.placement)
        problems += _trainer_problems(training, trainer, layout)
    if work.compares:
        trainer = _compared(task, layout, problems)
    server = _server(task, layout, problems) if work.generates else None
    written = rollouts * mean if work.generates else 0.0
    trained = rollouts * (prompt + mean) if work.trains else 0.0
    flops = _flops(task, trained, prompt + mean, profile) if work.trains else 0.0
    if work.compares and task.teacher is not None:
        scored = rollouts * (prompt + mean)
        flops = sum(forward_flops(shape, scored, prompt + mean) for shape in (task.policy, task.teacher))
    return StepEstimate(
        step=step.name,
        evaluation=scores,
        trainer=trainer,
        tokens_per_pass=training.micro_batch * training.tokens if training is not None else None,
        server=server,
        tokens_written=written,
        tokens_trained=trained,
        flops=flops,
        hours=_hours(task, flops, mean, prompt, server, profile, layout),
        disk=_disk(step, task, written),
        disk_while_running=RESUME_POINTS * 12 * task.policy.parameters if work.trains else 0,
        problems=tuple(problems),
    )


# What a step does


def _task(plan: Plan, step: PlannedStep) -> _Task | None:
    """None for a step of which its config says nothing, or whose model is not known here."""
    work = work_of(plan, step)
    policy = shape_of_input(plan, step, work.policy) if work is not None else None
    if work is None or policy is None:
        return None
    teacher = shape_of_input(plan, step, work.teacher) if work.teacher is not None else None
    return _Task(work=work, policy=policy, teacher=teacher)


def work_of(plan: Plan, step: PlannedStep) -> Work | None:
    """What the step's own config says of its work, given what the plan knows."""

    def made_by(field: str) -> Work | None:
        source = step.input(field).step
        return work_of(plan, plan.step(source)) if source is not None else None

    return step.config.work(
        Known(
            labels=sum(spend.labels for spend in step.spends),
            prompts=step.prompts,
            measured=sum(asked.measured for asked in step.asks),
            made_by=made_by,
            suite_rows=lambda suite: suite_rows(suite, None),
        )
    )


# Memory


def _training_task(of: _Task, profile: HardwareProfile, layout: Layout, problems: list[str]) -> TrainingTask:
    """At its fullest: passes as the profile says, or as large as there is room for."""
    work = of.work
    longest = work.prompt_limit + work.completion_limit
    try:
        micro, _ = accumulation(profile, work.rows, what=work.batch, whole=work.whole)
    except RecipeError as error:
        problems += error.problems
        micro = profile.micro_batch or 1
    task = TrainingTask(
        policy=of.policy,
        loss="divergence" if of.teacher is not None else "log_probabilities",
        micro_batch=micro,
        tokens=longest,
        teacher=of.teacher if layout.teacher_beside_trainer else None,
        reference=work.reference,
        lora_parameters=lora_parameters(of.policy, work.lora) if work.lora is not None else None,
    )
    tokens = profile.tokens_per_micro_batch
    if tokens is None and profile.micro_batch is None and work.whole is None and layout.device_bytes is not None:
        tokens = _tokens_with_room(task, layout)
    return task if tokens is None else replace(task, micro_batch=1, tokens=min(tokens, micro * longest))


def _tokens_with_room(task: TrainingTask, layout: Layout) -> int:
    """As many as fit, in thousands; the longest row where not even that does."""
    room = layout.trainer_room * (1 - PASS_MARGIN)
    for tokens in range(ENOUGH_TOKENS, task.tokens, -1024):
        if sum(trainer_parts(replace(task, micro_batch=1, tokens=tokens), layout.placement).values()) <= room:
            return tokens
    return task.tokens


def sized_passes(plan: Plan, step: PlannedStep, profile: HardwareProfile) -> HardwareProfile:
    """The profile as the step's program gets it: where it leaves the size of passes to the plan, with that size."""
    task = _task(plan, step)
    sized = profile.micro_batch is not None or profile.tokens_per_micro_batch is not None
    if (
        sized
        or profile.device_memory_gib is None
        or task is None
        or not task.work.trains
        or task.work.whole is not None
    ):
        return profile
    tokens = _training_task(task, profile, layout_of(profile), []).tokens
    return profile.model_copy(update={"tokens_per_micro_batch": tokens})


def _compared(of: _Task, layout: Layout, problems: list[str]) -> dict[str, int]:
    """The two models of a measurement on a trainer's device, beside a server where one shares it."""
    if of.teacher is None:
        return {}
    parts = comparing_parts(of.policy, of.teacher, of.work.prompt_limit + of.work.completion_limit, layout.placement)
    # No trainer is there whose optimizer works: the server beside it does not sleep.
    room = (layout.device_bytes or 0) - (layout.server_share if layout.colocated else 0)
    total = sum(parts.values())
    if layout.device_bytes is not None and total > room:
        problems.append(
            f"a device that compares two models would hold {total / GIB:.1f} GiB and has {room / GIB:.1f}: more "
            "processes with accelerate_config: fsdp2.yaml divide both, or lower max_completion_tokens"
        )
    return parts


def _trainer_problems(task: TrainingTask, parts: dict[str, int], layout: Layout) -> Iterator[str]:
    if layout.device_bytes is None:
        return
    room = layout.trainer_room
    total = sum(parts.values())
    if total > room:
        yield (
            f"a trainer device would hold {total / GIB:.1f} GiB and has {room / GIB:.1f} "
            f"({largest(parts)}): {_way_out(task, layout)}"
        )
    elif layout.colocated and layout.sleeps:
        beside = resident(parts) + layout.server_share
        if beside > layout.device_bytes:
            yield (
                f"while rollouts are written, the trainer's {resident(parts) / GIB:.1f} GiB and the server's "
                f"{layout.server_share / GIB:.1f} GiB share {layout.device_bytes / GIB:.1f}: lower "
                "server.gpu_memory_utilization, or give the server devices of its own"
            )


def _way_out(task: TrainingTask, layout: Layout) -> str:
    """What would make it fit, tried out: each change alone, then all of them together."""
    room, place = layout.trainer_room, layout.placement
    shards = max(place.processes, 1)

    def fits(task: TrainingTask, place: Placement) -> bool:
        return sum(trainer_parts(task, place).values()) <= room

    changes: dict[str, tuple[TrainingTask, Placement]] = {}
    if task.micro_batch > 1:
        changes["micro_batch: 1"] = replace(task, micro_batch=1), place
    if not place.checkpointing:
        changes["gradient_checkpointing: true"] = task, replace(place, checkpointing=True)
    if shards > 1 and place.sharding not in ("zero3", "fsdp2"):
        changes["accelerate_config: fsdp2.yaml"] = task, replace(place, sharding="fsdp2")
    if task.teacher is not None and not layout.colocated:
        changes["teacher: server"] = replace(task, teacher=None), place
    alone = [name for name, (changed, where) in changes.items() if fits(changed, where)]
    if alone:
        return f"{' or '.join(alone)} makes it fit"
    least = replace(task, micro_batch=1, teacher=None)
    densest = replace(place, checkpointing=True, sharding="fsdp2" if shards > 1 else place.sharding)
    if changes and fits(least, densest):
        return f"{' with '.join(changes)} makes it fit"
    for tokens in (task.tokens // 2, task.tokens // 4):
        if fits(replace(least, tokens=tokens), densest):
            return f"{' with '.join([*changes, f'rows of {tokens:,} tokens (max_completion_tokens)'])} makes it fit"
    return "more devices (processes) with accelerate_config: fsdp2.yaml, or `lora` on the step"


def _server(task: _Task, layout: Layout, problems: list[str]) -> ServerMemory | None:
    if layout.device_bytes is None:
        return None
    server = layout.server_of(task.policy)
    longest = task.work.prompt_limit + task.work.completion_limit
    if server.tokens < longest:
        needed = server.weights + longest * server.kv_bytes_per_token
        problems.append(
            f"a server device needs {needed / GIB:.1f} GiB for the weights and one rollout of {longest:,} tokens, and "
            f"has {(layout.server_share - layout.server_reserve) / GIB:.1f}: raise server.tensor_parallel or "
            "server.gpu_memory_utilization, or lower max_completion_tokens"
        )
    return server


# Work and disk


def _flops(task: _Task, tokens: float, length: float, profile: HardwareProfile) -> float:
    flops = training_flops(task.policy, tokens, length, checkpointing=profile.gradient_checkpointing)
    flops += task.work.scorings * forward_flops(task.policy, tokens, length)
    if task.teacher is not None:
        flops += forward_flops(task.teacher, tokens, length)
    return flops


def _hours(
    task: _Task,
    flops: float,
    mean: float,
    prompt: float,
    server: ServerMemory | None,
    profile: HardwareProfile,
    layout: Layout,
) -> float | None:
    """None where the profile does not say how fast its devices are."""
    work = task.work
    if profile.peak_tflops is None or (work.generates and profile.memory_bandwidth_gbs is None):
        return None
    seconds = flops / (profile.processes * profile.peak_tflops * 1e12 * profile.utilisation)
    if work.generates and server is not None and work.rows:
        decoder = layout.decoder(task.policy, server)
        seconds += work.steps * decoder.seconds(work.rows, mean, work.completion_limit, prompt)
    return seconds / 3600


def _disk(step: PlannedStep, task: _Task, written: float) -> int:
    kind = type(step.config).publishes
    if kind == "checkpoint":
        return 4 * task.policy.parameters  # published in the trainer's float32
    return int(written * (BYTES_PER_ROLLOUT_TOKEN if kind == "rollouts" else BYTES_PER_SAMPLE_TOKEN))
