"""Verdicts while the engine is still writing: finished samples are judged and stored on a thread of their own.

The engine's thread must not wait for a verifier that may take seconds over one answer, and a sample must be on disk
soon after it was drawn. So finished samples queue up here and are judged in batches of whatever has arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from reasoning_pipeline.base.behind import Behind
from reasoning_pipeline.records import FinishReason, Problem, Verdict
from reasoning_pipeline.rewards.judge import RewardJudge
from reasoning_pipeline.rollouts.clients.completions import Completion

from .samples import Judged, Sample, SampleFile

BATCH = 256
"""Samples judged at once at most; enough to keep every worker of the verifier busy."""


class Judge(Protocol):
    """The part of `reasoning_pipeline.verifier.Verifier` that is used here."""

    def judge(
        self,
        references: Sequence[str],
        texts: Sequence[str],
        *,
        finishes: Sequence[FinishReason] | None = None,
        questions: Sequence[str] | None = None,
    ) -> list[Verdict]: ...


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A completion that waits for its verdict."""

    file: SampleFile
    problem: Problem
    sample: int
    seed: int
    text: str
    completion: Completion
    opens_thinking: bool
    reward: RewardJudge | None = None
    """Judges in the verifier's place, under both profiles."""


def judged_text(text: str, opens_thinking: bool) -> str:
    """What the verifier reads. Where the template wrote `<think>` for the policy, a box inside it is not an answer."""
    return "<think>\n" + text if opens_thinking else text


def judge(finished: Sequence[Finished], strict: Judge, lenient: Judge) -> list[Sample]:
    """Samples with both verdicts, in order. Raises RuntimeError when the verifier breaks its one-per-sample promise."""
    references = [item.problem.answer for item in finished]
    texts = [judged_text(item.text, item.opens_thinking) for item in finished]
    finishes = [item.completion.finish for item in finished]
    questions = [item.problem.question for item in finished]
    by_reward = [row for row, item in enumerate(finished) if item.reward is not None]
    if by_reward:
        return _by_rewards(finished, texts, by_reward, strict, lenient)
    both = [judge.judge(references, texts, finishes=finishes, questions=questions) for judge in (strict, lenient)]
    if any(len(verdicts) != len(finished) for verdicts in both):
        raise RuntimeError(f"{len(finished)} samples got {[len(v) for v in both]} verdicts")
    return [_sample(*row) for row in zip(finished, *both, strict=True)]


def _by_rewards(
    finished: Sequence[Finished], texts: Sequence[str], rows: Sequence[int], strict: Judge, lenient: Judge
) -> list[Sample]:
    """The same where suites with rewards of their own are among them: each reward judges its rows in one go."""
    samples: dict[int, Sample] = {}
    for reward in {id(item.reward): item.reward for item in finished if item.reward is not None}.values():
        mine = [row for row in rows if finished[row].reward is reward]
        verdicts = reward.judge(
            [finished[row].problem for row in mine],
            [texts[row] for row in mine],
            [finished[row].completion.finish for row in mine],
        )
        samples |= {row: _sample(finished[row], v, v) for row, v in zip(mine, verdicts, strict=True)}
    others = [row for row in range(len(finished)) if row not in samples]
    samples |= zip(others, judge([finished[row] for row in others], strict, lenient), strict=True)
    return [samples[row] for row in range(len(finished))]


def _sample(item: Finished, strict: Verdict, lenient: Verdict) -> Sample:
    return Sample(
        problem_id=item.problem.id,
        sample=item.sample,
        seed=item.seed,
        text=item.text,
        tokens=len(item.completion.token_ids),
        finish=item.completion.finish,
        policy_version=item.completion.policy_version,
        extracted=lenient.extracted,
        strict=Judged.of(strict),
        lenient=Judged.of(lenient),
    )


def judging_thread(strict: Judge, lenient: Judge, stored: Callable[[Finished, Sample], None]) -> Behind[Finished]:
    """Judges what is put into it, stores it, and says so by `stored`, on its own thread."""

    def keep(batch: list[Finished]) -> None:
        samples = judge(batch, strict, lenient)
        for file in {item.file for item in batch}:  # by identity: one file a suite
            file.append(s for s, item in zip(samples, batch, strict=True) if item.file is file)
        for item, sample in zip(batch, samples, strict=True):
            stored(item, sample)

    return Behind(keep, name="judging", most=BATCH)
