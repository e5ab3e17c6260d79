"""`doctor`: the command that looks before anything runs."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from reasoning_pipeline.base.text import console
from reasoning_pipeline.commands.options import add_arm_options, add_json_option, load, recipe_command, store_of

if TYPE_CHECKING:
    from reasoning_pipeline.doctor.subject import Finding

STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}


def add(commands: argparse._SubParsersAction) -> None:
    doctor = recipe_command(commands, "doctor", _doctor)
    add_arm_options(doctor, without="every arm")
    doctor.add_argument("--models", action="store_true", help="load large models too for the distance probe")
    add_json_option(doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.doctor.examine import examine
    from reasoning_pipeline.doctor.subject import Subject
    from reasoning_pipeline.hardware.profile import load_profile

    profile = load_profile(arguments.hardware)
    offline = profile.setup.offline or os.environ.get("HF_HUB_OFFLINE", "") in ("1", "true", "TRUE")
    plan = load(arguments, sketch=True)
    subject = Subject(
        plan=plan, profile=profile, root=store_of(arguments), offline=offline, with_models=arguments.models
    )
    findings = examine(subject)
    _print_findings(findings, title=f"{plan.recipe.name} on {profile.name}", as_json=arguments.json)
    return 1 if any(finding.level == "error" for finding in findings) else 0


def _print_findings(findings: list[Finding], *, title: str, as_json: bool) -> None:
    """One row a finding, the remedy below what it mends; then the sum."""
    counts = {level: sum(finding.level == level for finding in findings) for level in STYLES}
    if as_json:
        print(json.dumps({"subject": title, **counts, "findings": [asdict(finding) for finding in findings]}, indent=2))
        return
    out = console()
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        remedy = f"\n→ {finding.remedy}" if finding.remedy and finding.level != "ok" else ""
        table.add_row(Text(finding.level, style=STYLES[finding.level]), finding.check, Text(finding.message + remedy))
    out.print(table)
    out.print(", ".join(f"{count} {level}" for level, count in counts.items()))
