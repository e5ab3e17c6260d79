"""One optimizer step of on-policy distillation from one GPU to many: the best split of them, and what bounds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from reasoning_pipeline.estimates.hours import PUSH_GBS, PUSH_S
from reasoning_pipeline.estimates.lengths import Lengths
from reasoning_pipeline.estimates.memory import (
    Placement,
    Sharding,
    TrainingTask,
    resident,
    server_memory,
    trainer_parts,
)
from reasoning_pipeline.estimates.shapes import ModelShape
from reasoning_pipeline.estimates.simulation import Machines, Simulated, simulate, training_seconds
from reasoning_pipeline.estimates.work import Decoder, forward_flops, training_flops

DEVICE_BYTES, PEAK, BANDWIDTH_GBS, UTILISATION = int(79.6 * 2**30), 989e12, 3350.0, 0.35
"""An H100 of 80 GB."""
ROOM = int(0.97 * DEVICE_BYTES)
SERVER_SHARE, SEQUENCES = 0.9, 256
STEPS = 3


@dataclass(frozen=True, kw_only=True)
class Split:
    """Some GPUs as trainers and servers, and what a step then takes."""

    trainers: int
    servers: int
    tensor_parallel: int
    colocated: bool
    found: Simulated
    pushing: float
    teacher: float
    """Seconds of the teacher's forward passes."""
    longest: float
    """Seconds of one rollout that runs to the limit on a server of its own: no number of servers makes it less."""

    @property
    def bound_by(self) -> str:
        if self.found.generating <= self.found.training:
            return "the teacher's forward pass" if self.teacher > self.found.training / 2 else "training"
        return "the longest rollout" if self.longest > 0.8 * self.found.generating else "decoding"


def best_split(
    student: ModelShape, teacher: ModelShape, gpus: int, *, rows: int, lengths: Lengths, prompt: float
) -> Split | None:
    """The fastest that fits; None where nothing does."""
    splits = list(_splits(student, teacher, gpus, rows=rows, lengths=lengths, prompt=prompt))
    return min(splits, key=lambda split: split.found.seconds, default=None)


def _splits(
    student: ModelShape, teacher: ModelShape, gpus: int, *, rows: int, lengths: Lengths, prompt: float
) -> Iterator[Split]:
    longest_row = prompt + lengths.limit
    batch = _shuffled(lengths.of(rows))
    for trainers in _shares(gpus):
        colocated = trainers == gpus
        server_gpus = gpus if colocated else gpus - trainers
        task = TrainingTask(policy=student, loss="divergence", micro_batch=1, tokens=int(longest_row), teacher=teacher)
        sharding: Sharding = "fsdp2" if trainers > 1 else "none"
        place = Placement(precision_bytes=2, checkpointing=True, sharding=sharding, processes=trainers, gpu=True)
        parts = trainer_parts(task, place)
        if sum(parts.values()) > ROOM:
            continue
        # On the same GPUs a server has what the trainer leaves while it does not compute.
        share = ROOM - resident(parts) if colocated else int(DEVICE_BYTES * SERVER_SHARE)
        for parallel in (1, 2, 4, 8):
            servers = server_gpus // parallel
            memory = server_memory(student, share=share, precision_bytes=2, tensor_parallel=parallel)
            if not servers or server_gpus % parallel or memory.tokens < longest_row:
                continue
            decoder = Decoder(
                shape=student, replicas=servers, tensor_parallel=parallel, precision_bytes=2,
                cache_tokens=memory.tokens, max_sequences=SEQUENCES, bandwidth_gbs=BANDWIDTH_GBS,
                flops=PEAK * UTILISATION,
            )  # fmt: skip
            yield _simulated(student, teacher, trainers, decoder, batch, prompt, longest_row, colocated)


def _simulated(
    student: ModelShape,
    teacher: ModelShape,
    trainers: int,
    decoder: Decoder,
    batch: Sequence[float],
    prompt: float,
    longest_row: float,
    colocated: bool,
) -> Split:
    speed = PEAK * UTILISATION
    pushing = PUSH_S + 2 * student.parameters / (PUSH_GBS * 1e9)
    machines = Machines(
        servers=decoder.replicas,
        at_once=max(1, min(SEQUENCES, int(decoder.cache_tokens // (prompt + sum(batch) / len(batch))))),
        step_seconds=decoder.step_seconds,
        processes=trainers,
        row_seconds=lambda row: (
            (training_flops(student, row, row, checkpointing=True) + forward_flops(teacher, row, row)) / speed
        ),
        push_seconds=pushing,
        ahead=not colocated,
    )
    forward = replace(machines, row_seconds=lambda row: forward_flops(teacher, row, row) / speed)
    limit = longest_row - prompt
    return Split(
        trainers=trainers,
        servers=decoder.replicas,
        tensor_parallel=decoder.tensor_parallel,
        colocated=colocated,
        found=simulate([batch] * STEPS, prompt, machines),
        pushing=pushing,
        teacher=training_seconds(batch, prompt, forward),
        longest=limit * decoder.step_seconds(1, prompt + limit / 2),
    )


def _shares(gpus: int) -> list[int]:
    """Trainers: all of them, taking turns with servers, or so many eighths."""
    return sorted({gpus, *(gpus * eighths // 8 for eighths in range(1, 8) if gpus * eighths % 8 == 0)})


def _shuffled(lengths: Sequence[float]) -> list[float]:
    """In an order that knows nothing of them, and is always the same: every 7th, over and over (7 divides no batch)."""
    count = len(lengths)
    stride = next(step for step in (7, 11, 13, 17) if count % step)
    return [lengths[at * stride % count] for at in range(count)]
