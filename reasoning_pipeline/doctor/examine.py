"""Runs every check; one that breaks becomes a finding itself."""

from __future__ import annotations

from reasoning_pipeline.doctor import contents, folders, launching, machine
from reasoning_pipeline.doctor.subject import Check, Finding, Subject
from reasoning_pipeline.errors import PipelineError

CHECKS: tuple[Check, ...] = (*folders.CHECKS, *contents.CHECKS, *machine.CHECKS, *launching.CHECKS)

BEFORE_A_RUN: tuple[Check, ...] = (
    *(machine.gpus, machine.disk, machine.registry, machine.shared_memory, machine.ports, machine.secrets),
    launching.launcher,
)
"""Those that take a moment and load nothing."""

BEFORE_A_SUBMISSION: tuple[Check, ...] = (machine.disk, machine.registry, launching.launcher)
"""Of these, what a login node can tell and a submission does not look at by itself."""


def refuse(subject: Subject, checks: tuple[Check, ...]) -> None:
    """Raises PipelineError with everything that these checks call an error."""
    errors = [finding for finding in examine(subject, checks) if finding.level == "error"]
    if errors:
        lines = [
            f"  - {entry.check}: {entry.message}" + (f"\n    → {entry.remedy}" if entry.remedy else "")
            for entry in errors
        ]
        raise PipelineError(
            "\n".join([f"{subject.plan.recipe.name} cannot run on {subject.profile.name} here:", *lines]),
            remedy="`doctor` looks at everything; nothing was started",
        )


def examine(subject: Subject, checks: tuple[Check, ...] = CHECKS) -> list[Finding]:
    """All findings, in the order of the checks."""
    return [finding for check in checks for finding in _run(check, subject)]


def _run(check: Check, subject: Subject) -> list[Finding]:
    found: list[Finding] = []
    name = check.__name__.replace("_", " ")
    try:
        for finding in check(subject):
            found.append(finding)
    except PipelineError as error:
        found.append(Finding(level="error", check=name, message=error.message, remedy=error.remedy))
    except Exception as error:  # the others go on; this one is a defect of ours and says so
        message = f"the check itself failed: {type(error).__name__}: {error}"
        found.append(Finding(level="warning", check=name, message=message, remedy="report it; the rest still holds"))
    return found
