"""Runs every check; one that breaks becomes a finding itself."""

from __future__ import annotations

from reasoning_pipeline.doctor import contents, folders, launching, machine
from reasoning_pipeline.doctor.subject import Check, Finding, Subject
from reasoning_pipeline.errors import PipelineError

CHECKS: tuple[Check, ...] = (*folders.CHECKS, *contents.CHECKS, *machine.CHECKS, *launching.CHECKS)


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
