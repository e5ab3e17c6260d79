"""The sparse reward: the verifier's verdict on each completion, 1 or 0, or nothing where nothing could be judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from reasoning_pipeline.records import Problem
from reasoning_pipeline.rewards import audit_references, shared_verifier


def usable_references(problems: Sequence[Problem]) -> list[Problem]:
    """Problems whose answer the verifier can read, in canonical form; the others are listed on stdout by id."""
    audit = audit_references(problems)
    if audit.set_aside:
        print(f"set aside {len(audit.set_aside)} of {len(problems)} problems: their answers cannot be references")
        for identity, reason in audit.set_aside:
            print(f"  {identity}: {reason}")
    return audit.usable


MAX_DISAGREEMENTS = 1000


class VerifiedReward:
    """A TRL reward function; also says which groups can teach anything."""

    __name__ = "verified"

    def __init__(self, *, group_size: int, stop_ids: Sequence[int]) -> None:
        self.group_size, self.stop_ids = group_size, set(stop_ids)
        self.verifier, self.second_opinion = shared_verifier("strict"), shared_verifier("lenient")
        self.statuses: Counter[str] = Counter()
        self.disagreements: list[dict[str, str]] = []
        """Rows that the lenient profile of the benchmarks judges otherwise; the first MAX_DISAGREEMENTS of them."""

    def __call__(
        self,
        *,
        completions: list[str],
        completion_ids: list[list[int]],
        answer: list[str],
        question: list[str],
        log_metric: Any,
        **_: Any,
    ) -> list[float | None]:
        finishes = ["stop" if ids and ids[-1] in self.stop_ids else "length" for ids in completion_ids]
        verdicts = self.verifier.judge(answer, completions, finishes=finishes, questions=question)
        lenient = self.second_opinion.judge(answer, completions, finishes=finishes, questions=question)
        self.statuses.update(verdict.status for verdict in verdicts)
        differing = [
            i for i, pair in enumerate(zip(verdicts, lenient, strict=True)) if pair[0].correct != pair[1].correct
        ]
        for i in differing[: MAX_DISAGREEMENTS - len(self.disagreements)]:
            self.disagreements.append({"gold": answer[i], "prediction": completions[i], "question": question[i]})
        log_metric("reward_lenient", sum(verdict.correct for verdict in lenient) / len(lenient))
        log_metric("verdicts_disagree", len(differing) / len(verdicts))
        rewards = [verdict.reward for verdict in verdicts]
        for name, share in group_shares(rewards, self.group_size).items():
            log_metric(name, share)
        for status in ("timeout", "error", "reference_unparsed"):
            log_metric(f"verdicts_{status}", sum(v.status == status for v in verdicts) / len(verdicts))
        return rewards


def group_shares(rewards: list[float | None], group_size: int) -> dict[str, float]:
    """Shares of groups that are mixed, all right and all wrong; only mixed ones teach.

    Example: group_shares([1, 0, 1, 1], 2) == {"groups_mixed": 0.5, "groups_all_right": 0.5, "groups_all_wrong": 0.0}
    """
    groups = [
        [reward for reward in rewards[start : start + group_size] if reward is not None]
        for start in range(0, len(rewards), group_size)
    ]
    count = max(len(groups), 1)
    right = sum(bool(group) and min(group) == 1 for group in groups)
    wrong = sum(bool(group) and max(group) == 0 for group in groups)
    return {
        "groups_mixed": (len(groups) - right - wrong) / count,
        "groups_all_right": right / count,
        "groups_all_wrong": wrong / count,
    }
