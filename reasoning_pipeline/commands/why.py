"""`why`: the command that says why a step would run again."""

from __future__ import annotations

import argparse

from reasoning_pipeline.commands.arm_options import add_arm_options
from reasoning_pipeline.commands.options import load, recipe_command


def add(commands: argparse._SubParsersAction) -> None:
    text = "why a step would run again: field by field, and through which input"
    why = recipe_command(commands, "why", text, _why)
    why.add_argument("step", help="a step's name as `plan` shows it, e.g. distill or distill.evaluate")
    add_arm_options(why, without="every arm")


def _why(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.base.validation import suggestion
    from reasoning_pipeline.errors import RecipeError
    from reasoning_pipeline.plan.why import why
    from reasoning_pipeline.why_display import print_reason

    plan = load(arguments)
    if arguments.step not in plan.names():
        hint = suggestion(arguments.step, plan.names())
        raise RecipeError(str(arguments.recipe), [f"no step is called {arguments.step!r}{hint}"])
    print_reason(why(plan, arguments.step))
    return 0
