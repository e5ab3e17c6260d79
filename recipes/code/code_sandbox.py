"""The inside of the sandbox: runs one program that a model wrote, in a process that can compute and nothing else.

Started by code_reward.py as `python -I -S code_sandbox.py`. It reads a job from standard input and answers on standard
output; what the right values are it is never told, so nothing that runs in here can say that it passed. Before the
program's first instruction

- rlimits bound processor time, address space, written files (none) and open files;
- a seccomp filter leaves the system calls that arithmetic and memory need, and refuses the rest: no file, no socket, no
  other process, no signal. It needs no rights and cannot be taken off again.

Job: {"program": text, "entry": name, "calls": [[argument, …], …], "seconds": n, "memory_mb": n, "filter": bool}
Answer: [{"value": plain data} or {"error": kind}, one a call]
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib
import io
import json
import os
import platform
import resource
import sys

READY = (
    "abc", "bisect", "cmath", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions",
    "functools", "heapq", "itertools", "math", "numbers", "operator", "random", "re", "statistics", "string",
    "textwrap", "typing", "unicodedata",
)  # fmt: skip
"""What a program may import: loaded before the filter, for after it no file can be opened."""

# By name, for who reads: read write close fstat lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn
# mremap madvise getpid exit gettimeofday getrusage times sigaltstack gettid futex clock_gettime clock_nanosleep
# nanosleep exit_group getrandom sched_yield rseq
ALLOWED = {
    "x86_64": (0xC000003E, (0, 1, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 25, 28, 39, 60, 96, 98, 100, 131, 186, 202, 228,
                            230, 35, 231, 318, 24, 334)),
    "aarch64": (0xC00000B7, (63, 64, 57, 80, 62, 222, 226, 215, 214, 134, 135, 139, 216, 233, 172, 93, 169, 165, 153,
                             132, 178, 98, 113, 115, 101, 94, 278, 124, 293)),
}  # fmt: skip
"""Machine -> its audit number, and the numbers of the calls that are let through (linux/audit.h, unistd.h)."""

NO_NEW_PRIVS, SET_SECCOMP, FILTER_MODE = 38, 22, 2
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
KILL, REFUSE, ALLOW = 0x80000000, 0x00050000 | errno.EPERM, 0x7FFF0000


class _Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("yes", ctypes.c_ubyte), ("no", ctypes.c_ubyte), ("k", ctypes.c_uint)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction))]


def shut() -> None:
    """Install the filter. Raises OSError where this machine has none, or none that we know the numbers of."""
    if sys.platform != "linux" or platform.machine() not in ALLOWED:
        raise OSError(f"no filter of system calls for {sys.platform} on {platform.machine()}")
    machine, numbers = ALLOWED[platform.machine()]
    rules = [(LOAD, 0, 0, 4), (JUMP_EQUAL, 1, 0, machine), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
    rules += [(JUMP_EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    rules += [(RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
    code = (_Instruction * len(rules))(*rules)
    libc = ctypes.CDLL(None, use_errno=True)
    filters = _Program(len(rules), code)
    if libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(SET_SECCOMP, FILTER_MODE, ctypes.byref(filters), 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel refuses a filter of system calls")


def limit(seconds: int, memory_mb: int) -> None:
    limits = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_AS: memory_mb << 20,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_NOFILE: 8,
    }
    for kind, most in limits.items():
        resource.setrlimit(kind, (most, most))


def main() -> None:
    job = json.loads(sys.stdin.buffer.read())
    for name in READY:
        importlib.import_module(name)
    os.closerange(3, 256)
    limit(job["seconds"], job["memory_mb"])
    if job["filter"]:
        shut()
    os.write(1, b"shut\n")
    sys.stdin, sys.stdout, sys.stderr = io.StringIO(), io.StringIO(), io.StringIO()
    os.write(1, json.dumps(results(job)).encode())
    os._exit(0)


def results(job: dict) -> list:
    space: dict = {"__name__": "program"}
    try:
        exec(compile(job["program"], "program", "exec"), space)
        entry = space[job["entry"]]
    except BaseException as error:
        return [{"error": type(error).__name__}] * len(job["calls"])
    found = []
    for arguments in job["calls"]:
        try:
            found.append({"value": json.loads(json.dumps(entry(*arguments)))})
        except BaseException as error:  # SystemExit too: a program that leaves has not answered
            found.append({"error": type(error).__name__})
    return found


if __name__ == "__main__":
    with contextlib.suppress(MemoryError, RecursionError):
        main()
