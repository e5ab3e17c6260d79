"""Workers that die, hang or eat memory: every request still gets its reply, in order, and no process is left."""

from __future__ import annotations

import os
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reasoning_pipeline.verifier import Verifier
from reasoning_pipeline.verifier import pool as pool_module
from reasoning_pipeline.verifier.pool import WorkerPool

WORKER = str(Path(pool_module.__file__).parent)
BAD_WORKER = textwrap.dedent(
    """
    import ctypes, os, sys, time
    sys.path.insert(0, sys.argv[1])  # the file alone: with the whole package each of many starts would cost its imports
    from worker import serve

    def handle(request):
        what = request["what"]
        if what == "exit":
            os._exit(3)
        if what == "segfault":
            ctypes.string_at(0)
        if what == "memory":
            return {"status": "correct", "rule": str(len(bytearray(10 << 30)))}
        if what == "hang":
            time.sleep(1000)
        if what == "big power":  # holds the interpreter lock: no thread of the worker could end it
            10 ** (10 ** 9)
        if what == "print":
            print("not a reply"); sys.stdout.flush()
        if what == "raise":
            raise ValueError("inside")
        return {"status": "correct", "rule": what, "pid": os.getpid()}

    serve(handle)
    """
)


@pytest.fixture
def bad_pool(tmp_path: Path) -> Iterator[WorkerPool]:
    script = tmp_path / "bad_worker.py"
    script.write_text(BAD_WORKER)
    pool = WorkerPool(2, time_limit_s=0.5, memory_limit_mb=1024, command=[sys.executable, str(script), WORKER])
    yield pool
    pids = pool.processes()
    pool.close()
    assert not any(alive(pid) for pid in pids)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] not in "ZX"
    except FileNotFoundError:
        return False


def ask(pool: WorkerPool, *what: str) -> list[str]:
    return [f"{reply['status']}: {reply['rule']}" for reply in pool.run([{"what": request} for request in what])]


@pytest.mark.parametrize(
    ("death", "reply"),
    [
        ("exit", "error: worker died (exit status 3)"),
        ("segfault", "error: worker died (signal 11)"),
        ("memory", "error: out of memory"),
        ("hang", "timeout: over 0.5 s"),
        ("big power", "timeout: over 0.5 s"),
        ("raise", "error: ValueError: inside"),
    ],
)
def test_a_death_costs_one_answer(bad_pool, death, reply):
    assert ask(bad_pool, "a", death, "b", "c", death, "d") == [
        "correct: a",
        reply,
        "correct: b",
        "correct: c",
        reply,
        "correct: d",
    ]


def test_a_batch_waits_no_longer_than_its_hangs_take_turns(bad_pool):
    ask(bad_pool, "a", "b")  # both workers are up
    started = time.monotonic()
    ask(bad_pool, *["hang"] * 4)
    # four hangs over two workers: two turns of 0.5 s, and the start of two new workers in between
    assert time.monotonic() - started < 2 * 0.5 + 3.0
    assert bad_pool.timeouts == 4


def test_what_a_library_prints_is_not_a_reply(bad_pool):
    assert ask(bad_pool, "print", "a") == ["correct: print", "correct: a"]


def test_workers_retire(bad_pool, monkeypatch):
    monkeypatch.setattr(pool_module, "RECYCLE_AFTER", 3)
    pids = {reply["pid"] for reply in bad_pool.run([{"what": "x"}] * 12)}
    assert len(pids) >= 4  # 12 requests, at most three to each worker


def test_threads_share_the_workers(bad_pool):
    replies: dict[int, list[str]] = {}

    def work(number: int) -> None:
        replies[number] = ask(bad_pool, *(f"{number}-{i}" for i in range(20)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == {n: [f"correct: {n}-{i}" for i in range(20)] for n in range(6)}
    assert len(bad_pool.processes()) <= 2


def test_a_closed_pool_says_so(bad_pool):
    bad_pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        ask(bad_pool, "a")


NEEDS_A_WORKER = (r"\tan^2 y + 1", r"\boxed{\sec^2 y}")


def test_integers_never_start_a_worker_or_load_sympy():
    code = (
        "import sys; from reasoning_pipeline.verifier import Verifier, shared_verifier; v = Verifier();"
        "assert v.judge(['42', '7'], [r'\\boxed{42}', 'x'])[0].correct; assert not v.pool.processes();"
        "assert not {'sympy', 'math_verify', 'mpmath', 'torch'} & set(sys.modules)"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0


def test_any_thread_may_judge(verifiers):
    verifier = verifiers["strict"]
    verdicts = []
    thread = threading.Thread(target=lambda: verdicts.extend(verifier.judge([NEEDS_A_WORKER[0]], [NEEDS_A_WORKER[1]])))
    thread.start()
    thread.join()
    assert verdicts[0].correct and verdicts[0].rule == "algebra"


def test_a_forked_child_starts_workers_of_its_own(verifiers):
    verifier = verifiers["strict"]
    assert verifier.judge([NEEDS_A_WORKER[0]], [NEEDS_A_WORKER[1]])[0].correct
    child = os.fork()
    if child == 0:
        again = verifier.judge(["2" + NEEDS_A_WORKER[0]], [r"\boxed{\tan^2 y + \sec^2 y + \tan^2 y \cdot 0}"])[0]
        verifier.close()
        os._exit(0 if again.rule in ("algebra", "exact") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert verifier.judge([r"\cos 2x"], [r"\boxed{1 - 2\sin^2 x}"])[0].correct


def test_repeats_cost_one_judgement(verifiers):
    verifier = Verifier(workers=1)
    verifier.pool = verifiers["strict"].pool
    verdicts = verifier.judge([NEEDS_A_WORKER[0]] * 50, [NEEDS_A_WORKER[1]] * 50)
    assert all(verdict.correct for verdict in verdicts)
    assert verifier.counters()["to_workers"] == 1
    verifier.judge([NEEDS_A_WORKER[0]], [NEEDS_A_WORKER[1]])
    assert verifier.counters()["cache_hits"] == 1


def test_columns_of_different_length_are_refused(verifiers):
    with pytest.raises(ValueError, match="texts: expected 2 entries"):
        verifiers["strict"].judge(["1", "2"], ["1"])


def test_what_is_not_text_is_an_error_and_the_others_are_judged(verifiers):
    verdicts = verifiers["strict"].judge(["1", "1"], [None, r"\boxed{1}"])  # type: ignore[list-item]
    assert [verdict.status for verdict in verdicts] == ["error", "correct"]
