"""What a step does, in the terms of an estimate: every stage's Config says it of itself, and estimates/ does the sums.

A stage that says nothing is planned and run all the same; it then has no memory, hours or tokens in `plan`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reasoning_pipeline.recipe.fields import Lora, Optimization


@dataclass(frozen=True, kw_only=True)
class Work:
    """Rows, lengths and models of one step.

    Example:
        Work(rows=64, steps=120, prompt_limit=2048, completion_limit=16384, policy="policy", teacher="teacher",
             generates=True, trains=True, batch="rollouts_per_step")
    """

    rows: int = 0
    """Rollouts of one optimizer step; of the whole step where nothing is trained."""
    steps: float = 1
    """Optimizer steps."""
    prompt_limit: int = 0
    completion_limit: int = 0
    """Tokens at most."""
    policy: str = "policy"
    """The field whose model is trained, or writes where nothing is trained."""
    teacher: str | None = None
    """The field whose model scores every token beside it."""
    scorings: int = 0
    """Forward passes of the policy besides the trained one: old log-probabilities, reference."""
    reference: bool = False
    """Whether a frozen copy of the policy is held beside it."""
    generates: bool = False
    ahead: bool = False
    """Whether the next batch is written while the optimizer works on this one."""
    save_every: int = 0
    """Optimizer steps between resume points; 0 where none is written."""
    compares: bool = False
    """Whether policy and teacher, both frozen, score the rollouts side by side."""
    trains: bool = False
    batch: str = ""
    """The fields that make the global batch, for messages."""
    whole: str | None = None
    """Why an optimizer step must be one pass of one process; None where it may be divided."""
    lora: Lora | None = None


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the plan knows of a step and its config does not."""

    labels: int
    """Labels that it spends."""
    prompts: int
    """Problems that it reads without their answers."""
    measured: int
    """Problems whose labels it only scores with."""
    made_by: Callable[[str], Work | None]
    """The work of the step that a field of it refers to; None where no step of the recipe makes that."""
    suite_rows: Callable[[str], int]
    """Problems of a suite; 0 where nobody knows."""


def work_on_rollouts(config: Any, known: Known, *, teacher: str | None) -> Work:
    """Of a step that learns from a rollout set another step wrote, `rollouts_per_step` at a time."""
    written = known.made_by("rollouts") or Work()
    return Work(
        rows=config.rollouts_per_step,
        steps=optimizer_steps(config, written.rows, config.rollouts_per_step),
        prompt_limit=written.prompt_limit,
        completion_limit=written.completion_limit,
        teacher=teacher,
        trains=True,
        save_every=config.save_every,
        batch="rollouts_per_step",
        lora=config.lora,
    )


def optimizer_steps(config: Optimization, problems: int, per_step: int) -> float:
    """Of a config that counts them in `steps`, or in `epochs` over so many problems."""
    return float(config.steps or (config.epochs or 0) * problems // per_step)
