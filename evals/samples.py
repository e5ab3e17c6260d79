"""Samples on disk: one JSON line each, appended as they finish, read back after a kill.

The file is the only memory of an evaluation. What stands in it is never asked for again; a last line torn by a kill
is cut off and asked for again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.files import write_text
from reasoning_pipeline.base.jsonl import lines, read_rows
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.records import FinishReason, Problem, Status, Verdict

NO_ANSWER: tuple[Status, ...] = ("no_box", "empty_box", "unclosed_box", "truncated", "unfinished_thinking")
"""Nothing to judge was written. Counted as wrong, and shown apart."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One profile's verdict, as stored beside the sample.

    Example:
        Judged(status="correct", reward=1.0, rule="exact", seconds=2e-5)
    """

    status: Status
    reward: float | None
    rule: str
    seconds: float

    @classmethod
    def of(cls, verdict: Verdict) -> Judged:
        return cls(status=verdict.status, reward=verdict.reward, rule=verdict.rule, seconds=round(verdict.seconds, 6))


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One answer to one problem with what both profiles of the verifier think of it.

    Example:
        Sample(problem_id="aime2024/I/02", sample=3, seed=1734, text="... \\\\boxed{25}", tokens=812, finish="stop",
               policy_version="extra_rl-9f:64", extracted="25", strict=Judged(...), lenient=Judged(...))
    """

    problem_id: str
    sample: int
    seed: int
    text: str
    tokens: int
    finish: FinishReason
    policy_version: str
    extracted: str | None
    strict: Judged
    lenient: Judged

    @property
    def key(self) -> tuple[str, int]:
        return (self.problem_id, self.sample)

    def judged(self, profile: str) -> Judged:
        return self.strict if profile == "strict" else self.lenient

    def as_json(self, profile: str) -> dict[str, Any]:
        """`status` of the profile that counts comes first, so that a line can be read without knowing profiles."""
        return {"status": self.judged(profile).status, **asdict(self)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Sample:
        fields = {name: value for name, value in record.items() if name != "status"}
        fields["strict"], fields["lenient"] = Judged(**fields["strict"]), Judged(**fields["lenient"])
        return cls(**fields)


def sample_seed(base: int, suite: str, problem_id: str, sample: int) -> int:
    """The seed of one sample, 31 bits. It depends on nothing else: not on the order, the batch, or what is on disk."""
    digest = hashlib.sha256(json.dumps([base, suite, problem_id, sample]).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


class SampleFile:
    """Appends and reads `samples.jsonl`. One process writes; `evaluate` holds a lock on the folder."""

    def __init__(self, path: Path, profile: str) -> None:
        self.path = path
        self.profile = profile

    def read(self) -> dict[tuple[str, int], Sample]:
        """Every sample by (problem id, index); a sample that stands twice counts once, the first time."""
        found: dict[tuple[str, int], Sample] = {}
        if not self.path.is_file():
            return found
        with self.path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith("\n"):
                    break  # torn by a kill
                try:
                    sample = Sample.from_json(json.loads(line))
                except (ValueError, TypeError, KeyError) as error:
                    raise DataError(
                        f"{self.path} line {number}: not a sample ({type(error).__name__}: {error})",
                        remedy="remove the line; its sample is drawn again with the same seed",
                    ) from None
                found.setdefault(sample.key, sample)
        return found

    def cut_torn_line(self) -> None:
        """Removes what a kill left after the last newline, so that the next line starts on its own."""
        if not self.path.is_file():
            return
        with self.path.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            while end > 0:
                start = max(0, end - 65_536)
                file.seek(start)
                newline = file.read(end - start).rfind(b"\n")
                if newline >= 0:
                    file.truncate(start + newline + 1)
                    return
                end = start
            file.truncate(0)

    def append(self, samples: Iterable[Sample]) -> None:
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(self._text(samples))

    def replace(self, samples: Iterable[Sample]) -> None:
        """Writes the whole file anew, all or nothing."""
        write_text(self.path, self._text(samples))

    def _text(self, samples: Iterable[Sample]) -> str:
        return lines(sample.as_json(self.profile) for sample in samples)


def add_problems(path: Path, problems: Iterable[Problem]) -> None:
    """Stores the problems as they are judged against, so that a run can be graded again without its source.

    Problems of an earlier call (with a higher limit, say) stay: their samples are still in the folder.
    """
    together = {problem.id: problem for problem in (read_problems(path) if path.is_file() else [])}
    together |= {problem.id: problem for problem in problems}
    write_text(path, lines(asdict(problem) for problem in together.values()))


def read_problems(path: Path) -> list[Problem]:
    if not path.is_file():
        raise DataError(f"{path} is missing", remedy="give the folder of an evaluation, with one subfolder a suite")
    return [Problem(**row) for row in read_rows(path)]
