"""Slurm's own commands: what we ask them, how we read their answers, and what they said when they refused."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reasoning_pipeline.base.text import indented
from reasoning_pipeline.base.validation import suggestion
from reasoning_pipeline.errors import PipelineError

ANSWER_SECONDS = 60.0
"""A busy controller may take long; one that takes longer than this is treated as absent."""

ALIVE = ("PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD", "RESIZING",
         "SIGNALING", "STAGE_OUT", "STOPPED")  # fmt: skip


class QueueError(PipelineError):
    """Slurm is not here, does not answer, or refused."""


@dataclass(frozen=True)
class Queued:
    """One job (or array task) that Slurm knows.

    Example:
        Queued(job="1234_0", state="RUNNING", elapsed="12:34", left="23:47:26", reason="None", exit_code="")
    """

    job: str
    state: str
    elapsed: str
    left: str
    reason: str
    exit_code: str = ""

    @property
    def alive(self) -> bool:
        return self.state in ALIVE


def submit(script: Path, dependency: str | None) -> str:
    """Queue a script; the job's number. Raises QueueError with sbatch's own message where it refuses."""
    options = [f"--dependency={dependency}"] if dependency else []
    done = _ask(["sbatch", "--parsable", *options, str(script)])
    return done.split(";")[0].strip()  # `1234` or, on a federation, `1234;cluster`


def partitions() -> list[str]:
    """Names of the partitions there are."""
    return sorted(set(_ask(["sinfo", "--noheader", "--format=%R"]).split()))


def check_partition(name: str | None) -> None:
    """Raises QueueError, with a suggestion, for a partition that does not exist."""
    if name is None:
        return
    known = partitions()
    for part in name.split(","):
        if part not in known:
            raise QueueError(
                f"no partition is called {part!r}{suggestion(part, known)} (partitions: {', '.join(known)})",
                remedy="give another one with --partition, or in the profile's slurm block",
            )


def mine() -> dict[str, Queued]:
    """Everything of this user that is pending or running, by job number (`1234`, or `1234_0` in an array)."""
    answer = _ask(["squeue", "--me", "--noheader", "--array", "--format=%i|%T|%M|%L|%r"])
    return {entry.job: entry for entry in (Queued(*line.split("|", 4)) for line in answer.splitlines() if line)}


def ended(jobs: Sequence[str]) -> dict[str, Queued]:
    """What is still known of jobs that left the queue: from the accounts where they are kept, else from the
    controller's memory, which lasts minutes. Jobs that neither remembers are missing."""
    if not jobs:
        return {}
    known: dict[str, Queued] = {}
    fields = "JobID,State,Elapsed,ExitCode"
    try:
        options = ["--allocations", "--noheader", "--parsable2", f"--format={fields}"]
        answer = _ask(["sacct", *options, "--jobs", ",".join(jobs)])
    except QueueError:  # no sacct here, or no accounting
        answer = ""
    for line in filter(None, answer.splitlines()):
        job, state, elapsed, exit_code = line.split("|", 3)
        known[job] = Queued(job, state.split()[0], elapsed, "", "", exit_code)  # `CANCELLED by 1000`
    for job in jobs:
        if job not in known and (found := _remembered(job)) is not None:
            known[job] = found
    return known


def cancel(jobs: Sequence[str]) -> None:
    """End jobs. Those that are over already are no error."""
    if jobs:
        _ask(["scancel", "--quiet", *jobs])


def _remembered(job: str) -> Queued | None:
    try:
        answer = _ask(["scontrol", "show", "job", "--oneliner", job])
    except QueueError:
        return None
    fields = dict(word.split("=", 1) for word in answer.split() if "=" in word)
    state = fields.get("JobState", "")
    return Queued(job, state, fields.get("RunTime", ""), "", fields.get("Reason", ""), fields.get("ExitCode", ""))


def _ask(command: list[str]) -> str:
    if shutil.which(command[0]) is None:
        raise QueueError(
            f"`{command[0]}` is not on this machine",
            remedy="run this on a login node of the cluster; `--dry-run` prints the scripts anywhere",
        )
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise QueueError(
            f"`{command[0]}` did not answer within {ANSWER_SECONDS:.0f} s", remedy="is the controller up? try again"
        ) from None
    if done.returncode != 0:
        raise QueueError(
            f"`{' '.join(command)}` refused:\n{indented(done.stderr or done.stdout, 15) or '    (no message)'}"
        )
    return done.stdout
