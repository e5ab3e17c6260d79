"""`doctor`: the command that looks before anything runs."""

from __future__ import annotations

import argparse

from reasoning_pipeline.commands.arm_options import add_arm_options
from reasoning_pipeline.commands.options import load, recipe_command


def add(commands: argparse._SubParsersAction) -> None:
    text = "what would stop this recipe on this machine, found before any GPU-hour; exit status 1 on errors"
    doctor = recipe_command(commands, "doctor", text, _doctor)
    add_arm_options(doctor, without="every arm")
    doctor.add_argument("--models", action="store_true", help="load large models too for the distance probe")
    doctor.add_argument("--json", action="store_true", help="findings as JSON, one object")


def _doctor(arguments: argparse.Namespace) -> int:
    import os

    from reasoning_pipeline.doctor.display import print_findings
    from reasoning_pipeline.doctor.examine import examine
    from reasoning_pipeline.doctor.subject import Subject
    from reasoning_pipeline.hardware.profile import load_profile

    profile = load_profile(arguments.hardware)
    offline = profile.setup.offline or os.environ.get("HF_HUB_OFFLINE", "") in ("1", "true", "TRUE")
    plan = load(arguments, sketch=True)
    subject = Subject(plan=plan, profile=profile, root=arguments.root, offline=offline, with_models=arguments.models)
    findings = examine(subject)
    print_findings(findings, title=f"{plan.recipe.name} on {profile.name}", as_json=arguments.json)
    return 1 if any(finding.level == "error" for finding in findings) else 0
