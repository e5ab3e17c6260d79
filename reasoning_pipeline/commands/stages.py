"""`stages`: what there is to build a recipe from."""

from __future__ import annotations

import argparse

from reasoning_pipeline.commands import COMMANDS


def add(commands: argparse._SubParsersAction) -> None:
    stages = commands.add_parser("stages", help=COMMANDS["stages"].text)
    stages.set_defaults(command=_stages)


def _stages(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.recipe.workflows import stage_kinds, stage_module

    for kind in stage_kinds():
        summary = " ".join((stage_module(kind).__doc__ or "").strip().split("\n\n")[0].split())
        print(f"{kind}\n    {summary}")
    return 0
