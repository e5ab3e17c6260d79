"""Whether a step fits on its devices: passes as large as there is room for, what is too large, what would help."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

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
from reasoning_pipeline.estimates.shapes import lora_parameters
from reasoning_pipeline.estimates.tasks import Task, task_of
from reasoning_pipeline.hardware.profile import HardwareProfile, accumulation
from reasoning_pipeline.plan.graph import Plan, PlannedStep

ENOUGH_TOKENS = 32_768
"""A pass that the plan sizes holds no more, or one row: matrix products gain nothing from more, and gathering the
layers of a divided model (two bytes a parameter over the fabric) is far below the work on so many tokens."""
PASS_MARGIN = 0.1
"""Share of a device's memory that the plan leaves free when it sizes passes: twice what the estimate was found off."""


def training_task(of: Task, profile: HardwareProfile, layout: Layout, problems: list[str]) -> TrainingTask:
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
    task = task_of(plan, step)
    sized = profile.micro_batch is not None or profile.tokens_per_micro_batch is not None
    if (
        sized
        or profile.device_memory_gib is None
        or task is None
        or not task.work.trains
        or task.work.whole is not None
    ):
        return profile
    tokens = training_task(task, profile, layout_of(profile), []).tokens
    return profile.model_copy(update={"tokens_per_micro_batch": tokens})


def compared(of: Task, layout: Layout, problems: list[str]) -> dict[str, int]:
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


def trainer_problems(task: TrainingTask, parts: dict[str, int], layout: Layout) -> Iterator[str]:
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


def server_of_step(task: Task, layout: Layout, problems: list[str]) -> ServerMemory | None:
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
