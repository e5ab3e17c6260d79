"""Errors that a person can act on: each says where, what was found, what was expected, and what to do next.

Everything raised on purpose derives from `PipelineError`; the command lines print its text and leave with its
`exit_status`. Any other exception is a defect of ours and keeps its traceback (in the step's log).
"""

from __future__ import annotations

import os


class PipelineError(Exception):
    """Something the user can mend. `remedy` is one sentence that says how."""

    exit_status = 1

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.remedy}" if self.remedy else self.message


class RecipeError(PipelineError):
    """A recipe (or hardware profile) that cannot be run. Lists every problem found, each with its place.

    Example:
        RecipeError("mine.yaml", ["steps.warmup.policy: no step is called \"studnt\"; did you mean \"student\"?"])
    """

    exit_status = 2

    def __init__(self, source: str, problems: list[str]) -> None:
        self.source = source
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{source}: {count}\n" + "\n".join(f"  - {problem}" for problem in problems))


class DataError(PipelineError):
    """A problem file or data set that cannot be used as it is; names the line or the row."""

    exit_status = 2


class RegistryError(PipelineError):
    """An artifact that is missing, incomplete or not what its record says."""


class IncompatibleModels(PipelineError):
    """A model that cannot be trained here, or two that cannot share a distillation: names the first difference."""

    exit_status = 2


class ServerError(PipelineError):
    """The rollout server refused, answered nonsense, or could not be started."""


class ServerLost(ServerError):
    """The rollout server went away. The runner restarts it and resumes the step, while that gets any further."""

    exit_status = 75


class TransferCutOff(ServerError):
    """A push to this server ended because another one went away in it; the server itself can be pushed to again."""


class StaleWeights(ServerError):
    """A weight push that the probe could not prove: the server does not hold the weights it was given."""


class StepFailed(PipelineError):
    """A step ended without publishing; carries its name, the end of its log and the log's path."""


def as_storage_error(error: BaseException) -> PipelineError | None:
    """A full or read-only disk as a message for a person; None for any other error.

    Libraries wrap the system's error in kinds of their own (safetensors, PyTorch), so its text decides.
    """
    text = f"{type(error).__name__}: {error}"
    if "No space left" in text or "unexpected pos" in text:  # the latter is PyTorch's word for a short write
        return PipelineError(
            f"no space left on the disk ({text[:300]})",
            remedy="free space and run the same command again; what was saved before is kept",
        )
    if isinstance(error, PermissionError) and _refused_reading(error.filename):
        return PipelineError(
            f"cannot read {error.filename} (permission denied)", remedy="ask its owner to make it readable for you"
        )
    if "Read-only file system" in text or isinstance(error, PermissionError):
        return PipelineError(f"cannot write here ({text[:300]})", remedy="make the folder writable and run again")
    return None


def _refused_reading(name: object) -> bool:
    """Whether this is there and may not be read: then no write was refused."""
    return isinstance(name, str) and os.path.exists(name) and not os.access(name, os.R_OK)


class Stopped(PipelineError):
    """The run was asked to stop (Ctrl-C or a signal). Checkpoints are kept; running again continues."""

    exit_status = 130
