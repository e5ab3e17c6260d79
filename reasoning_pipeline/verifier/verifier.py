"""The verifier: references and completions in, one `Verdict` each out, in order, whatever happens.

Most answers are decided here, exactly and in microseconds; the rest go to worker processes, which start with the
first answer that needs one. The rules are in docs/verifier.md.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Literal

from reasoning_pipeline.records import Status, Verdict
from reasoning_pipeline.verifier.extraction import Extraction, extract_answer
from reasoning_pipeline.verifier.formulas import Profile
from reasoning_pipeline.verifier.grading import Decision, decide
from reasoning_pipeline.verifier.pool import WorkerPool
from reasoning_pipeline.verifier.unboxed import extract_unboxed, published

_CACHE_SIZE = 100_000
_NOTHING_FOUND = ("no_box", "empty_box", "unclosed_box", "unfinished_thinking")
_Key = tuple[str, str, str | None]
"""Reference, answer, and the question where it has a say."""


_VERIFIERS: weakref.WeakSet[Verifier] = weakref.WeakSet()


class Verifier:
    r"""One grader, two profiles: `strict` pays rewards, `lenient` scores benchmarks.

    Example:
        Verifier().judge(["42"], [r"So the answer is \boxed{42}."])[0].reward == 1.0
    """

    def __init__(
        self,
        profile: Profile = "strict",
        *,
        workers: int | None = None,
        time_limit_s: float = 5.0,
        memory_limit_mb: int = 2048,
    ) -> None:
        if profile not in ("strict", "lenient"):
            raise ValueError(f"profile: expected strict or lenient, found {profile!r}")
        self.profile: Profile = profile
        self.time_limit_s = time_limit_s
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.pool = WorkerPool(
            workers if workers is not None else max(1, min(8, processors)),
            time_limit_s=time_limit_s,
            memory_limit_mb=memory_limit_mb,
        )
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._cache: OrderedDict[_Key, Decision] = OrderedDict()
        _VERIFIERS.add(self)

    def judge(
        self,
        references: Sequence[str],
        texts: Sequence[str],
        *,
        finishes: Sequence[str | None] | None = None,
        questions: Sequence[str | None] | None = None,
        unboxed: Sequence[bool] | None = None,
    ) -> list[Verdict]:
        """One Verdict per pair, in order, whatever happens.

        finish "length" makes an answer without a final box "truncated". A question lets the strict profile refuse what
        is copied from it, and accept the quantity it asks for left of its value. `unboxed` marks benchmark rows that
        ask for no box; the strict profile ignores it.
        """
        columns = {"texts": texts, "finishes": finishes, "questions": questions, "unboxed": unboxed}
        for name, column in columns.items():
            if column is not None and len(column) != len(references):
                raise ValueError(f"{name}: expected {len(references)} entries, one per reference, found {len(column)}")
        verdicts: list[Verdict | None] = []
        open_rows: dict[_Key, list[int]] = {}
        for row, (reference, text) in enumerate(zip(references, texts, strict=True)):
            started = time.perf_counter()
            loose = bool(unboxed and unboxed[row]) and self.profile == "lenient"
            finish = finishes[row] if finishes is not None else None
            question = questions[row] if questions is not None and self.profile == "strict" else None
            extraction, decision = self._quick(reference, text, finish, loose, question)
            if decision.status is None and extraction.answer is not None:
                open_rows.setdefault((published(reference, unboxed=loose), extraction.answer, question), []).append(row)
            verdicts.append(_verdict(decision, extraction, time.perf_counter() - started))
        self._finish(open_rows, verdicts)
        judged = [verdict for verdict in verdicts if verdict is not None]
        with self._lock:
            self._counts.update(verdict.status for verdict in judged)
        return judged

    def _quick(
        self, reference: str, text: str, finish: str | None, loose: bool, question: str | None
    ) -> tuple[Extraction, Decision]:
        """Extraction, cache and exact arithmetic, in this process."""
        extraction = Extraction(status="no_box", answer=None)
        try:
            extraction = extract_unboxed(text) if loose else extract_answer(text)
            gold = published(reference, unboxed=loose)
            if extraction.status != "found" or extraction.answer is None:
                fault = decide(gold, gold, self.profile)
                if fault.status == "reference_unparsed":
                    return extraction, fault
                cut = finish == "length" and extraction.status in _NOTHING_FOUND
                return extraction, Decision("truncated" if cut else _status(extraction), "extraction")
            key = (gold, extraction.answer, question)
            with self._lock:
                known = self._cache.get(key)
                if known is not None:
                    self._cache.move_to_end(key)
                    self._counts["cache_hits"] += 1
                    return extraction, known
            decision = decide(gold, extraction.answer, self.profile, question=question)
            if decision.status is not None:
                self._remember(key, decision)
            return extraction, decision
        except Exception as error:  # one answer may fail; the batch may not
            return extraction, Decision("error", f"{type(error).__name__}: {error}"[:200])

    def _finish(self, open_rows: dict[_Key, list[int]], verdicts: list[Verdict | None]) -> None:
        """The undecided pairs, each distinct one judged once by a worker."""
        if not open_rows:
            return
        requests = [
            {
                "gold": gold,
                "answer": answer,
                "profile": self.profile,
                "time_s": self.time_limit_s,
                "question": question,
            }
            for gold, answer, question in open_rows
        ]
        started = time.perf_counter()
        replies = self.pool.run(requests)
        seconds = (time.perf_counter() - started) / len(requests)
        for (key, rows), reply in zip(open_rows.items(), replies, strict=True):
            by_value = reply["rule"] in ("algebra", "math-verify")
            decision = Decision(reply["status"], reply["rule"] if by_value else f"worker: {reply['rule']}")
            if decision.status != "error":
                self._remember(key, decision)
            for row in rows:
                verdict = verdicts[row]
                assert verdict is not None
                extraction = Extraction(status="found", answer=verdict.extracted)
                verdicts[row] = _verdict(decision, extraction, verdict.seconds + seconds)
        with self._lock:
            self._counts["to_workers"] += len(requests)

    def _remember(self, key: _Key, decision: Decision) -> None:
        with self._lock:
            self._cache[key] = decision
            while len(self._cache) > _CACHE_SIZE:
                self._cache.popitem(last=False)

    def counters(self) -> dict[str, int]:
        """Verdicts by status, cache hits, and what the workers went through, since this verifier was made."""
        with self._lock:
            counts = dict(self._counts)
        return counts | {"worker_restarts": self.pool.restarts, "worker_timeouts": self.pool.timeouts}

    def close(self) -> None:
        """Ends the worker processes. Exact answers can still be judged; others then raise."""
        self.pool.close()


def _status(extraction: Extraction) -> Status:
    return "unparsed" if extraction.status == "found" else extraction.status


def _verdict(decision: Decision, extraction: Extraction, seconds: float) -> Verdict:
    status: Status = decision.status or "error"
    reward = None if status == "reference_unparsed" else float(status == "correct")
    return Verdict(status=status, reward=reward, extracted=extraction.answer, rule=decision.rule, seconds=seconds)


_SHARED: dict[Literal["strict", "lenient"], Verifier] = {}
_SHARED_LOCK = threading.Lock()


def shared_verifier(profile: Profile = "strict") -> Verifier:
    """The verifier of this process for a profile; both profiles share one pool of workers, closed at exit."""
    with _SHARED_LOCK:
        if profile not in _SHARED:
            verifier = Verifier(profile)
            for other in _SHARED.values():
                verifier.pool = other.pool
            _SHARED[profile] = verifier
        return _SHARED[profile]


def _close_shared() -> None:
    for verifier in _SHARED.values():
        verifier.close()


def _new_locks() -> None:
    """After a fork: another thread may have held a lock that nobody here will ever release."""
    global _SHARED_LOCK  # noqa: PLW0603
    _SHARED_LOCK = threading.Lock()
    for verifier in list(_VERIFIERS):
        verifier._lock = threading.Lock()


atexit.register(_close_shared)
os.register_at_fork(after_in_child=_new_locks)
