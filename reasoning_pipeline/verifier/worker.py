"""A verifier worker: one request a line on stdin, one reply a line on the pipe that was stdout.

Started by `pool.WorkerPool` as its own program, so nothing of the caller (its `__main__`, its CUDA context, its
threads) comes along. The kernel enforces its limits: address space once, processor time anew for every request, so even
an orphan that never gets back to Python comes to an end.
"""

from __future__ import annotations

import json
import math
import os
import resource
from collections.abc import Callable
from typing import Any

Handler = Callable[[dict[str, Any]], dict[str, Any]]


def serve(handle: Handler, prepare: Callable[[], object] = lambda: None) -> None:
    """Answers requests until stdin closes. The first line in has the limits, the first line out says ready.

    `prepare` is called before that, under the limits of memory and with nothing to spoil by printing.
    """
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not look like a reply
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # and nothing that it runs may read a request
    limits = json.loads(requests.readline())
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = limits["memory_mb"] * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prepare()
    print(json.dumps({"ready": os.getpid()}), file=replies, flush=True)
    for line in requests:
        _allow_processor_seconds(limits["time_s"] + 2)
        try:
            reply = handle(json.loads(line))
        except MemoryError:
            reply = {"status": "error", "rule": "out of memory", "leaving": True}
        except RecursionError:
            reply = {"status": "too_long", "rule": "nested too deep"}
        except BaseException as error:  # math-verify's timeout is not an Exception, and must not end the worker
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            timed_out = "timeout" in type(error).__name__.lower()
            reply = {"status": "timeout" if timed_out else "error", "rule": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps(reply), file=replies, flush=True)
        if reply.get("leaving"):
            return


def _allow_processor_seconds(seconds: float) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime + seconds), hard))


def grade(request: dict[str, Any]) -> dict[str, Any]:
    """One pair to one decision, or (with `audit`) whether math-verify reads a reference."""
    from reasoning_pipeline.verifier.symbolic import decide_with_algebra, parse_latex

    if "audit" in request:
        parsed = parse_latex(request["audit"], 5)
        readable = parsed is not None and bool(parsed == parsed)  # noqa: PLR0124  (nan is not itself)
        return {"status": "correct" if readable else "reference_unparsed", "rule": "math-verify"}
    decision = decide_with_algebra(
        request["gold"], request["answer"], request["profile"], request["time_s"], request.get("question")
    )
    return {"status": decision.status, "rule": decision.rule}


if __name__ == "__main__":
    # Loaded before "ready", so that no answer's time limit pays for imports.
    import math_verify  # noqa: F401
    import mpmath  # noqa: F401

    serve(grade)
