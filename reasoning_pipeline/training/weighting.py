"""What single rollouts and tokens weigh in a distillation loss, beyond all alike; every form is off unless a step asks.

Pure functions of small tensors. N are the tokens of a micro batch, G the rollouts of one prompt.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import torch

from reasoning_pipeline.errors import PipelineError

Difficulty = Literal["none", "filter", "weight"]
TokenWeighting = Literal["uniform", "entropy"]

ADVANTAGE_FLOOR = 1e-4
"""Added to a group's standard deviation, as in GRPO."""


def by_difficulty(rows: list[dict[str, Any]], difficulty: Difficulty) -> list[dict[str, Any]]:
    """Rollouts with how hard their problem is for their writer, p being the share that it got right.

    `filter` leaves the rollouts of problems with 0 < p < 1; `weight` adds `difficulty`: p (1 - p), the weight of PACED
    (arXiv 2603.11178), there of the student's p and here of the writer's, whose rollouts are the ones at hand.

    Raises:
        PipelineError: Rows without a verdict, problems with a single rollout, or not one problem between the two.
    """
    if difficulty == "none":
        return rows
    place = f"difficulty: {difficulty}"
    ungraded = sum(not isinstance(row.get("correct"), bool) for row in rows)
    if ungraded:
        raise PipelineError(
            f"{place}: {ungraded} of {len(rows)} rollouts have no verdict (`correct` in rollouts.jsonl)",
            remedy="write the set with a teacher_rollouts step, which judges every rollout, or set difficulty: none",
        )
    written = Counter(row["problem_id"] for row in rows)
    alone = sum(count == 1 for count in written.values())
    if alone:
        raise PipelineError(
            f"{place}: {alone} of {len(written)} problems have a single rollout, which is right or wrong and no share",
            remedy="set rollouts_per_prompt: 2 or more in the teacher_rollouts step, or difficulty: none",
        )
    right = Counter(row["problem_id"] for row in rows if row["correct"])
    share = {problem: right[problem] / count for problem, count in written.items()}
    between = [row for row in rows if 0 < share[row["problem_id"]] < 1]
    if not between:
        raise PipelineError(
            f"{place}: each of {len(written)} problems was answered always right or always wrong",
            remedy="write more rollouts a problem, take harder or easier problems, or set difficulty: none",
        )
    print(f"{place}: {len(between)} of {len(rows)} rollouts are of problems that were answered right now and then")
    if difficulty == "filter":
        return between
    return [row | {"difficulty": share[row["problem_id"]] * (1 - share[row["problem_id"]])} for row in rows]


def mean_one(weights_N: torch.Tensor) -> torch.Tensor:
    """The same proportions with mean 1; where all are zero, all weigh alike. Without gradient.

    Example: (0.2, 0.6) -> (0.5, 1.5)
    """
    weights_N = weights_N.detach().float()
    total = weights_N.sum()
    return torch.where(total > 0, weights_N * len(weights_N) / total.clamp(min=1e-30), torch.ones_like(weights_N))


def rollout_weights(difficulty_B: torch.Tensor, tokens_B: torch.Tensor) -> torch.Tensor:
    """[B], such that the mean over the batch's tokens, each with its rollout's weight, is 1; zero where all are zero.

    A batch without any problem between always right and always wrong teaches nothing.
    Example: p (1 - p) of (0.25, 0) with 10 and 30 tokens -> (4, 0): 4 x 10 / 40 = 1
    """
    difficulty_B, tokens_B = difficulty_B.float(), tokens_B.float()
    return difficulty_B * tokens_B.sum() / (difficulty_B * tokens_B).sum().clamp(min=1e-30)


def group_advantages(rewards_PG: torch.Tensor) -> torch.Tensor:
    """[P, G]: (reward - mean) / (standard deviation + 1e-4) within each prompt's rollouts; nan is not judged, and 0.

    The standard deviation is the sample's (G - 1), as in TRL's GRPO.
    Example: (1, 0) -> (0.707, -0.707); a constant group teaches nothing: (1, 1) -> (0, 0)
    """
    judged_PG = ~rewards_PG.isnan()
    count_P1 = judged_PG.sum(1, keepdim=True)
    centred_PG = rewards_PG - rewards_PG.nansum(1, keepdim=True) / count_P1.clamp(min=1)
    centred_PG = centred_PG.masked_fill(~judged_PG, 0.0)
    deviation_P1 = (centred_PG.square().sum(1, keepdim=True) / (count_P1 - 1).clamp(min=1)).sqrt()
    return centred_PG / (deviation_P1 + ADVANTAGE_FLOOR)


def policy_gradient(logprobs_N: torch.Tensor, advantages_N: torch.Tensor) -> torch.Tensor:
    """[N]: -A log pi of each token; its gradient is the policy gradient of rollouts that today's policy wrote."""
    return -advantages_N.detach() * logprobs_N
