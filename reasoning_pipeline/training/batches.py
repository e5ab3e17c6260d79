"""Which row is trained on when: decided once, from the seed, so that a resumed step continues with the right row."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from reasoning_pipeline.base.jsonl import read_rows
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.records import Problem

if TYPE_CHECKING:
    from reasoning_pipeline.recipe.fields import Optimization

Row = TypeVar("Row")

IGNORED = -100
"""Label of tokens that no loss is taken at."""


def repeat_in_epochs(rows: list[Row], count: int, seed: int) -> list[Row]:
    """The first `count` of: all rows shuffled, all rows shuffled anew, and so on."""
    rng = random.Random(f"order/{seed}")
    ordered: list[Row] = []
    while len(ordered) < count:
        epoch = list(rows)
        rng.shuffle(epoch)
        ordered.extend(epoch)
    return ordered[:count]


def steps_for(config: Optimization, rows: int, rows_per_step: int) -> int:
    """Optimizer steps: as given, or as many whole ones as the epochs hold.

    Example: 768 problems, 16 a step, 1 epoch -> 48.
    """
    if config.steps is not None:
        return config.steps
    assert config.epochs is not None
    steps = int(config.epochs * rows / rows_per_step)
    if steps < 1:
        raise PipelineError(
            f"{rows} rows do not fill one step of {rows_per_step}", remedy="lower the batch or raise epochs"
        )
    return steps


def within_length(problems: list[Problem], renderer: PromptRenderer, max_prompt_tokens: int) -> list[Problem]:
    """Problems whose prompt fits; the others are counted on stdout, never truncated."""
    if not problems:
        raise PipelineError("the step's pools hold no problems")
    kept = [p for p in problems if len(renderer.prompt_ids(p)) <= max_prompt_tokens]
    if len(kept) < len(problems):
        aside = len(problems) - len(kept)
        print(f"set aside {aside} of {len(problems)} problems: prompts over {max_prompt_tokens} tokens")
    if not kept:
        raise PipelineError(
            f"all {len(problems)} prompts are longer than {max_prompt_tokens} tokens", remedy="raise max_prompt_tokens"
        )
    return kept


def read_rollouts(folder: Path) -> list[dict[str, Any]]:
    """The rows of a published rollout set."""
    return read_rows(folder / "rollouts.jsonl")


def rollout_lengths(rollouts: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Of each row of a rollout set: a name for messages, and its tokens."""
    return [
        (
            f"rollout {number} of {row.get('problem_id', 'a problem without name')}",
            len(row["prompt_ids"]) + len(row["completion_ids"]),
        )
        for number, row in enumerate(rollouts, 1)
    ]


def answer_lengths(
    problems: list[Problem], renderer: PromptRenderer, max_completion_tokens: int
) -> list[tuple[str, int]]:
    """The same of each problem, the longest completion behind its prompt."""
    return [
        (
            f"{problem.id}: prompt of {(prompt := len(renderer.prompt_ids(problem))):,} and "
            f"max_completion_tokens {max_completion_tokens:,}",
            prompt + max_completion_tokens,
        )
        for problem in problems
    ]


@dataclass(frozen=True)
class PromptsByStep:
    """Which prompts a trainer process asks for at each optimizer step: what is written ahead must be just these.

    Trainers take consecutive rows, `rollouts_per_step` over all processes, and process p of n the p-th n-th of them.
    """

    prompts: list[list[int]]
    """Of each row of the data set, in training order."""
    copies: int
    """Rollouts of one row, next to each other."""
    rollouts_per_step: int
    process: int = 0
    processes: int = 1

    def __call__(self, step: int) -> list[list[int]] | None:
        """None beyond the last step."""
        rows = self.rollouts_per_step // self.copies
        batch = self.prompts[step * rows : (step + 1) * rows]
        if len(batch) < rows:
            return None
        repeated = [ids for ids in batch for _ in range(self.copies)]
        share = self.rollouts_per_step // self.processes
        return repeated[self.process * share : (self.process + 1) * share]
