"""The lines of a failed step's log that say why."""

from __future__ import annotations

import re
from pathlib import Path

from reasoning_pipeline.base.logs import tail

LINES_SHOWN = 20
_READ_BYTES = 4 << 20

# What a process of a distributed trainer prints of its own end, and a message of ours that it ended with. Warnings of
# NCCL's ([rank0]:[W1128 …) come in runs that go well, too.
_RANK_ERROR = re.compile(r"\[rank(\d+)\]:\s?(Traceback |\[[EF]\d)")
_OUR_ERROR = re.compile(r"error: ")
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):")
_OF_LAUNCHERS = re.compile(
    r"torch/distributed/(elastic|run\.py|launcher)|accelerate/commands/|Sending process \d+ closing signal"
)
"""Lines of torchrun's and accelerate's own: what they say when a worker has ended is not why."""


def why_it_failed(log: Path, *, launched: bool) -> str:
    """Lines of a log with a heading. Behind a launcher its end is the launcher's epilogue, and the first error of a
    trainer process is what one needs to see."""
    if launched and (found := _first_error(log)):
        return "the first error in its log is\n" + "\n".join("    " + line[:300] for line in _shortened(found))
    return f"its log ended with\n{tail(log, LINES_SHOWN)}"


def _first_error(log: Path) -> list[str]:
    """From the first error of a trainer process on; empty where none is found."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _READ_BYTES))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return []
    for number, line in enumerate(lines):
        if (rank := _RANK_ERROR.match(line)) is not None:
            own = f"[rank{rank[1]}]:"
            return [
                line
                for line in lines[number:]
                if line.startswith(own) and not line.startswith((f"{own}[W", f"{own}[I"))
            ]
        if _OUR_ERROR.match(line):
            return _until_a_launcher_speaks(lines[number:])
    for number, line in enumerate(lines):  # before the processes knew of each other: a failing import, a full disk
        if _TRACEBACK.match(line) and not _OF_LAUNCHERS.search(_first_frame(lines[number:])):
            return _until_a_launcher_speaks(lines[number:])
    return []


def _first_frame(lines: list[str]) -> str:
    """Of a program, not of the interpreter that runs it as a module."""
    return next((line for line in lines if line.startswith('  File "') and "<frozen runpy>" not in line), "")


def _until_a_launcher_speaks(lines: list[str]) -> list[str]:
    end = next((number for number, line in enumerate(lines) if _OF_LAUNCHERS.search(line)), len(lines))
    return lines[:end]


def _shortened(lines: list[str]) -> list[str]:
    """The beginning says whose error it is, the end what it is."""
    if len(lines) <= LINES_SHOWN:
        return lines
    return [lines[0], "…", *lines[-(LINES_SHOWN - 2) :]]
