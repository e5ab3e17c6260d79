"""`labels`: who spends what."""

from __future__ import annotations

import argparse


def add(commands: argparse._SubParsersAction) -> None:
    from reasoning_pipeline.commands.arm_options import add_arm_options
    from reasoning_pipeline.commands.options import recipe_command

    parser = recipe_command(commands, "labels", "who spends which labels, arm by arm, and what was left out", _labels)
    add_arm_options(parser, without="every arm")
    parser.add_argument("--json", action="store_true", help="for programs")


def _labels(arguments: argparse.Namespace) -> int:
    import json

    from reasoning_pipeline.commands.options import load
    from reasoning_pipeline.plan.account import account

    plan = load(arguments)
    found = account(plan)
    if arguments.json:
        print(json.dumps(found.as_json(), indent=1, ensure_ascii=False))
    else:
        from reasoning_pipeline.plan_display import print_labels

        print_labels(plan, found)
    return 0
