"""The reward of training: what the recipe's says of each completion, or nothing where nothing could be judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.jsonl import lines
from reasoning_pipeline.records import Problem, Verdict
from reasoning_pipeline.rewards.config import MATH
from reasoning_pipeline.rewards.judge import RewardJudge
from reasoning_pipeline.training.companions import Companion
from reasoning_pipeline.verifier import shared_verifier


def usable_references(problems: Sequence[Problem], judge: RewardJudge) -> list[Problem]:
    """Problems whose answer the reward can judge by, in canonical form; the others are listed on stdout by id."""
    audit = judge.usable(problems)
    if audit.set_aside:
        print(f"set aside {len(audit.set_aside)} of {len(problems)} problems: their answers cannot be references")
        for identity, reason in audit.set_aside:
            print(f"  {identity}: {reason}")
    return audit.usable


MAX_DISAGREEMENTS = 1000


Row = tuple[str, str, str, str, str]
"""What a verdict depends on: problem, answer, question, text, how it finished."""
Opinions = tuple[Verdict, Verdict]
"""Of the reward, which pays, and where that is the verifier also of the lenient profile of the benchmarks."""


class VerifiedReward(Companion):
    """A TRL reward function; also says which groups can teach anything.

    Told of a group when it is finished (`begin`), it judges while others are still being written; what it was not told
    of it judges when asked. The verdicts are the same either way.

    Args:
        judge: The recipe's reward; the verifier where it is not given.
        problems: With the columns that a reward of one's own is handed.
        overlong: (longest completion, buffer) in tokens of the soft overlong penalty; None for none.
    """

    __name__ = "verified"
    logs = ("groups_mixed", "groups_all_right", "groups_all_wrong", "reward_lenient", "verdicts_disagree",
            "verdicts_timeout", "verdicts_error", "verdicts_reference_unparsed", "verdicts_unjudged",
            "accuracy", "overlong_penalty")  # fmt: skip

    def __init__(
        self,
        *,
        group_size: int,
        stop_ids: Sequence[int],
        judge: RewardJudge | None = None,
        problems: Sequence[Problem] = (),
        overlong: tuple[int, int] | None = None,
    ) -> None:
        self.group_size, self.stop_ids, self.overlong = group_size, set(stop_ids), overlong
        self.judge = judge or RewardJudge(MATH)
        self.known = {problem.id: problem for problem in problems}
        self.judged_ahead = 0
        """Rows whose verdict had been begun before it was asked for."""
        self._begun: dict[Row, Opinions] = {}
        self._judge_thread = ThreadPoolExecutor(1, thread_name_prefix="judging")
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
        problem_id: list[str] | None = None,
        **_: Any,
    ) -> list[float | None]:
        finishes = [self._finish(ids) for ids in completion_ids]
        names = problem_id or [""] * len(answer)
        opinions = self._opinions(list(zip(names, answer, question, completions, finishes, strict=True)))
        verdicts, lenient = ([pair[profile] for pair in opinions] for profile in (0, 1))
        self.statuses.update(verdict.status for verdict in verdicts)
        differing = [
            i for i, pair in enumerate(zip(verdicts, lenient, strict=True)) if pair[0].correct != pair[1].correct
        ]
        for i in differing[: MAX_DISAGREEMENTS - len(self.disagreements)]:
            self.disagreements.append({"gold": answer[i], "prediction": completions[i], "question": question[i]})
        right = [verdict.correct for verdict in verdicts]
        if self.judge.is_math:
            log_metric("reward_lenient", sum(verdict.correct for verdict in lenient) / len(lenient))
            log_metric("verdicts_disagree", len(differing) / len(verdicts))
        else:
            log_metric("accuracy", sum(right) / len(right))
            log_metric("verdicts_unjudged", sum(v.status == "unjudged" for v in verdicts) / len(verdicts))
        rewards = [verdict.reward for verdict in verdicts]
        if self.overlong is not None:
            penalties = [overlong_penalty(len(ids), *self.overlong) for ids in completion_ids]
            log_metric("overlong_penalty", sum(penalties) / len(penalties))
            rewards = [None if r is None else r + p for r, p in zip(rewards, penalties, strict=True)]
        for name, share in group_shares(rewards, self.group_size, right).items():
            log_metric(name, share)
        for status in ("timeout", "error", "reference_unparsed"):
            log_metric(f"verdicts_{status}", sum(v.status == status for v in verdicts) / len(verdicts))
        return rewards

    def begin(self, problem: Problem, completion_ids: list[list[int]], decode: Callable[..., list[str]]) -> None:
        """Judge a finished group in the background. `decode` turns ids into the texts that will be asked for."""

        def judge() -> None:
            finishes = [self._finish(ids) for ids in completion_ids]
            rows = [
                (problem.id, problem.answer, problem.question, text, finish)
                for text, finish in zip(decode(completion_ids), finishes, strict=True)
            ]
            for row, opinions in zip(rows, self._judge(rows), strict=True):
                self._begun[row] = opinions

        self._judge_thread.submit(judge)

    def state(self) -> dict[str, Any]:
        return {"verdicts": dict(self.statuses), "disagreements": self.disagreements}

    def restore(self, state: dict[str, Any]) -> None:
        self.statuses.update(state.get("verdicts", {}))
        self.disagreements.extend(state.get("disagreements", []))

    def result(self) -> dict[str, Any]:
        return {"verdicts": dict(self.statuses)}

    def save(self, output: Path) -> None:
        """What the two profiles judged differently, in the format of `python -m evals grade`."""
        if self.disagreements:
            (output / "disagreements.jsonl").write_text(lines(self.disagreements), encoding="utf-8")

    def _opinions(self, rows: list[Row]) -> list[Opinions]:
        self._judge_thread.submit(lambda: None).result()  # it works in order, so what was begun before is done now
        known = {row: self._begun[row] for row in rows if row in self._begun}
        self.judged_ahead += sum(row in known for row in rows)
        missing = list(dict.fromkeys(row for row in rows if row not in known))
        known |= dict(zip(missing, self._judge(missing), strict=True))
        for row in rows:
            self._begun.pop(row, None)
        return [known[row] for row in rows]

    def _judge(self, rows: list[Row]) -> list[Opinions]:
        names, answers, questions, texts, finishes = ([row[column] for row in rows] for column in range(5))
        problems = [
            self.known.get(name) or Problem(id=name, question=question, answer=answer)
            for name, question, answer in zip(names, questions, answers, strict=True)
        ]
        paid = self.judge.judge(problems, texts, finishes)
        if not self.judge.is_math:
            return list(zip(paid, paid, strict=True))
        lenient = shared_verifier("lenient").judge(answers, texts, finishes=finishes, questions=questions)
        return list(zip(paid, lenient, strict=True))

    def _finish(self, completion_ids: list[int]) -> str:
        return "stop" if completion_ids and completion_ids[-1] in self.stop_ids else "length"


def overlong_penalty(tokens: int, longest: int, buffer: int) -> float:
    """0 for up to `longest - buffer` tokens, then falling in proportion to -1 at `longest` (arXiv 2503.14476, eq. 13).

    Example: overlong_penalty(90, longest=100, buffer=20) == -0.5
    """
    return min(0.0, max(-1.0, (longest - buffer - tokens) / buffer))


def group_shares(rewards: list[float | None], group_size: int, right: Sequence[bool]) -> dict[str, float]:
    """Shares of groups whose rewards differ, and of the others those that are all right and all wrong; only mixed ones
    teach. What is missing to one could not be judged.

    Example: group_shares([1, 0, 1, 1, None, None, 1, None], 2, [True, False, True, True, False, False, True, False])
        == {"groups_mixed": 0.25, "groups_all_right": 0.5, "groups_all_wrong": 0.0}
    """
    count = max(len(rewards) // group_size, 1)
    mixed = all_right = all_wrong = 0
    for start in range(0, len(rewards), group_size):
        rows = range(start, min(start + group_size, len(rewards)))
        judged = [(reward, right[row]) for row in rows if (reward := rewards[row]) is not None]
        if not judged:
            continue
        constant = len({reward for reward, _ in judged}) == 1
        mixed += not constant
        all_right += constant and judged[0][1]
        all_wrong += constant and not judged[0][1]
    return {"groups_mixed": mixed / count, "groups_all_right": all_right / count, "groups_all_wrong": all_wrong / count}
