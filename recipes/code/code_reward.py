"""A reward for programs: 1 where the function that the problem asks for gives the right value for every call.

Each program runs in a process of its own (code_sandbox.py), which is handed the arguments and never the values: those
are compared here. So a program that prints a verdict, leaves early, or changes what it runs in has failed to answer, no
more. The process is killed at its time limit, and what it writes is read up to a bound.

    reward: {kind: code_reward.py:unit_tests, seconds: 120}
    reward_files: {sandbox: code_sandbox.py}

Columns: `entry`, the function's name; `tests`, a list of {"arguments": [...], "value": plain data}.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SANDBOX = Path(__file__).resolve().with_name("code_sandbox.py")
FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)
MOST_BYTES = 1 << 20
"""Of a program's answers."""
START_SECONDS = 20.0
"""Until the interpreter has started, on a busy machine; the program's own time begins after that."""
SIDE_BY_SIDE = 4


def unit_tests(texts, columns, finishes, *, seconds=5, memory_mb=512, partial=False, filter=True):
    """1 for a program that passes every test, else 0, or with `partial` the share that it passes.

    Args:
        seconds: Wall time of one program, and its processor time.
        memory_mb: Address space of its process.
        filter: False runs programs where the kernel offers no seccomp filter, with rlimits alone: then they can read
            files and open sockets with your rights. Where it is missing and not given up, this raises.
    """

    def judged(row):
        program, tests = program_of(texts[row]), columns["tests"][row]
        if program is None or finishes[row] == "length":
            return 0.0
        job = {"program": program, "entry": columns["entry"][row], "calls": [test["arguments"] for test in tests]}
        found = run(job | {"seconds": seconds, "memory_mb": memory_mb, "filter": filter})
        passed = sum(
            isinstance(one, dict) and "value" in one and equal(one["value"], test["value"])
            for one, test in zip(found, tests, strict=False)
        )
        return passed / len(tests) if partial else float(passed == len(tests))

    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        return list(threads.map(judged, range(len(texts))))


def program_of(text):
    """The last fenced block; None where there is none."""
    blocks = FENCE.findall(text)
    return blocks[-1] if blocks else None


def equal(found, value):
    """As plain data: numbers within 1e-9 of one another, True is not 1, and a list is as long as the other."""
    if isinstance(found, bool) or isinstance(value, bool):
        return found is value
    if isinstance(found, int | float) and isinstance(value, int | float):
        return math.isclose(found, value, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(found, list) and isinstance(value, list):
        return len(found) == len(value) and all(map(equal, found, value))
    if isinstance(found, dict) and isinstance(value, dict):
        return found.keys() == value.keys() and all(equal(found[key], value[key]) for key in value)
    return type(found) is type(value) and found == value


def run(job):
    """What the program answered, call by call; empty where it hung, died, or answered with something else."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(SANDBOX)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env={"PYTHONHASHSEED": "0"},
        start_new_session=True,
    )
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(job).encode())
            process.stdin.close()
        opening = _read(process.stdout, START_SECONDS, len(b"shut\n"))
        if opening != b"shut\n":
            said = _read(process.stderr, 1.0, 4096).decode(errors="replace").strip().splitlines()
            raise RuntimeError(f"the sandbox did not start: {said[-1] if said else 'no answer'}")
        answer = _read(process.stdout, job["seconds"], MOST_BYTES)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # without the filter it may have children
        process.wait()
        process.stdout.close()
        process.stderr.close()
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return []
    return found if isinstance(found, list) else []


def _read(pipe, seconds, most):
    """Until its end, the time is over, or so many bytes have come."""
    found, end = b"", time.monotonic() + seconds
    while len(found) < most and (left := end - time.monotonic()) > 0:
        if not select.select([pipe], [], [], left)[0]:
            break
        piece = os.read(pipe.fileno(), min(most - len(found), 65536))
        if not piece:
            break
        found += piece
    return found
