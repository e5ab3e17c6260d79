"""`why`: why a step would run again, as a tree through its inputs, and below it what changed by itself."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from reasoning_pipeline.base.text import tree_text
from reasoning_pipeline.commands.options import add_arm_options, load, recipe_command

if TYPE_CHECKING:
    from rich.tree import Tree

    from reasoning_pipeline.plan.why import Reason


def add(commands: argparse._SubParsersAction) -> None:
    parser = recipe_command(commands, "why", _why)
    parser.add_argument("step", help="a step's name as `plan` shows it, e.g. distill or distill.evaluate")
    add_arm_options(parser, without="every arm")


def _why(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.base.validation import suggestion
    from reasoning_pipeline.errors import RecipeError
    from reasoning_pipeline.plan.why import why

    plan = load(arguments)
    if arguments.step not in plan.names():
        hint = suggestion(arguments.step, plan.names())
        raise RecipeError(str(arguments.recipe), [f"no step is called {arguments.step!r}{hint}"])
    _print_reason(why(plan, arguments.step))
    return 0


def _print_reason(reason: Reason) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(tree_text(_tree(reason, "", set())))
    roots = list(reason.roots())
    if reason.state == "differs" and roots:
        console.print("\nwhat changed by itself:")
        for path, step, change in roots:
            through = f"   (through {' of '.join(reversed(path))})" if path else ""
            console.print(f"  {step}: {change}{through}")


def _tree(reason: Reason, prefix: str, told: set[str]) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

    from reasoning_pipeline.registry.differences import Change

    line = prefix + _headline(reason)
    if reason.step in told:
        return Tree(Text(f"{line}: as above"))
    told.add(reason.step)
    tree = Tree(Text(line))
    for change in reason.changes:
        tree.add(Text(str(change)))
    for field, cause in reason.inputs.items():
        tree.add(
            Text(f"its input {cause}") if isinstance(cause, Change) else _tree(cause, f"its input {field}: ", told)
        )
    return tree


def _headline(reason: Reason) -> str:
    step, earlier = reason.step, reason.earlier
    resumes = "; it was begun, and would go on from its last resume point" if reason.resumes else ""
    if reason.state == "complete":
        return f"{step} is complete: {reason.output}"
    if earlier is None:
        return f"{step} would run: nothing of its stage was ever made here{resumes}"
    if reason.state == "removed":
        return f"{step} would run again: {reason.output} was removed by `gc`{resumes}"
    gone = ", removed since" if earlier.removed else ""
    if not reason.changes and not reason.inputs:
        return f"{step} is what {earlier.name} is ({earlier.made_by}{gone}){resumes}"
    return f"{step} is not what {earlier.name} is ({earlier.made_by}{gone}){resumes}"
