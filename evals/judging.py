"""Verdicts while the engine is still writing: finished samples are judged and stored on a thread of their own.

The engine's thread must not wait for a verifier that may take seconds over one answer, and a sample must be on disk
soon after it was drawn. So finished samples queue up here and are judged in batches of whatever has arrived.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from evals.samples import Judged, Sample, SampleFile
from reasoning_pipeline.records import FinishReason, Problem, Verdict
from reasoning_pipeline.rollouts.clients.completions import Completion

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


def judged_text(text: str, opens_thinking: bool) -> str:
    """What the verifier reads. Where the template wrote `<think>` for the policy, a box inside it is not an answer."""
    return "<think>\n" + text if opens_thinking else text


def judge(finished: Sequence[Finished], strict: Judge, lenient: Judge) -> list[Sample]:
    """Samples with both verdicts, in order. Raises RuntimeError when the verifier breaks its one-per-sample promise."""
    references = [item.problem.answer for item in finished]
    texts = [judged_text(item.text, item.opens_thinking) for item in finished]
    finishes = [item.completion.finish for item in finished]
    questions = [item.problem.question for item in finished]
    both = [judge.judge(references, texts, finishes=finishes, questions=questions) for judge in (strict, lenient)]
    if any(len(verdicts) != len(finished) for verdicts in both):
        raise RuntimeError(f"{len(finished)} samples got {[len(v) for v in both]} verdicts")
    return [
        Sample(
            problem_id=item.problem.id,
            sample=item.sample,
            seed=item.seed,
            text=item.text,
            tokens=len(item.completion.token_ids),
            finish=item.completion.finish,
            policy_version=item.completion.policy_version,
            extracted=lenient_verdict.extracted,
            strict=Judged.of(strict_verdict),
            lenient=Judged.of(lenient_verdict),
        )
        for item, strict_verdict, lenient_verdict in zip(finished, *both, strict=True)
    ]


class JudgingThread:
    """A context in which `put` hands samples over; leaving it waits until every one of them is stored.

    Whatever goes wrong on the thread is raised in the caller's, at the next `put` or on leaving.
    """

    def __init__(self, strict: Judge, lenient: Judge, stored: Callable[[Finished, Sample], None]) -> None:
        self._strict, self._lenient, self._stored = strict, lenient, stored
        self._waiting: queue.SimpleQueue[Finished | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="judging", daemon=True)

    def __enter__(self) -> JudgingThread:
        self._thread.start()
        return self

    def put(self, finished: Finished) -> None:
        if self._error is not None:
            raise self._error
        self._waiting.put(finished)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._waiting.put(None)
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def _work(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                samples = judge(batch, self._strict, self._lenient)
                for file in {item.file for item in batch}:  # by identity: one file a suite
                    file.append(s for s, item in zip(samples, batch, strict=True) if item.file is file)
                for item, sample in zip(batch, samples, strict=True):
                    self._stored(item, sample)
        except BaseException as error:  # carried over to the caller's thread, never swallowed
            self._error = error

    def _next_batch(self) -> list[Finished] | None:
        """Waits for one sample, then takes what else has arrived. None when the caller is done."""
        first = self._waiting.get()
        if first is None:
            return None
        batch = [first]
        while len(batch) < BATCH:
            try:
                item = self._waiting.get_nowait()
            except queue.Empty:
                break
            if item is None:
                self._waiting.put(None)  # for the next call
                break
            batch.append(item)
        return batch
