"""Options that several commands share: the recipe and what changes it, the root, which arms and seeds are meant."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_pipeline.commands import COMMANDS

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan
    from reasoning_pipeline.recipe.reading import Recipe

ALL = "all"
ROOT = Path("runs")


def command(
    commands: argparse._SubParsersAction, name: str, function: Callable[[argparse.Namespace], int], text: str = ""
) -> argparse.ArgumentParser:
    """A command with the option that all of them share; `text` says what it does where `COMMANDS` does not."""
    text = text or COMMANDS[name].text
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--root", type=Path, default=ROOT, help="where registry and runs live (default: runs)")
    parser.add_argument(
        "--registry",
        type=Path,
        metavar="DIR",
        help="the folder that holds registry/ and work/, where several people or runs share one (default: --root)",
    )
    parser.set_defaults(command=function)
    return parser


def recipe_command(
    commands: argparse._SubParsersAction, name: str, function: Callable[[argparse.Namespace], int], text: str = ""
) -> argparse.ArgumentParser:
    """A command whose first argument is a recipe, with the options that all of them share."""
    parser = command(commands, name, function, text)
    parser.add_argument("recipe", type=Path, help="YAML file, or the name of a recipe that ships")
    add_hardware_option(parser)
    parser.add_argument(
        "--set",
        metavar="PATH=VALUE",
        action="append",
        default=[],
        dest="overrides",
        help="change a value of the recipe, e.g. steps.distill.learning_rate=2e-6 (may be repeated)",
    )
    return parser


def store_of(arguments: argparse.Namespace) -> Path:
    """Where artifacts are kept; what is made there is its group's too, where that folder is (`chmod g+ws`)."""
    from reasoning_pipeline.base.files import share_with_group

    store: Path = arguments.registry or arguments.root
    share_with_group(store)
    return store


def as_given(arguments: argparse.Namespace, *, arms: bool = False) -> str:
    """The recipe and the options that say where and what it is, as words to type again after another command.

    Args:
        arms: With `--arm` and `--seeds`, which not every command takes.

    Example:
        as_given(arguments) == "mine.yaml --root /scratch/runs --hardware node_8x80gb --set seed=3"
    """
    words = [str(arguments.recipe)]
    words += ["--root", str(arguments.root)] if arguments.root != ROOT else []
    for option in ("registry", "hardware"):
        words += [f"--{option}", str(value)] if (value := getattr(arguments, option)) is not None else []
    words += [word for override in arguments.overrides for word in ("--set", override)]
    if arms:
        words += [word for arm in arguments.arms for word in ("--arm", arm)]
        seeds = arguments.seeds
        words += ["--seeds", seeds if isinstance(seeds, str) else ",".join(map(str, seeds))] if seeds else []
    return shlex.join(words)


@contextmanager
def naming_the_recipe(arguments: argparse.Namespace) -> Iterator[None]:
    """Where a remedy says `prefetch RECIPE`, for it knows no recipe, the one that was given stands there."""
    from reasoning_pipeline.errors import PipelineError

    try:
        yield
    except PipelineError as error:
        if error.remedy is not None and hasattr(arguments, "overrides"):
            error.remedy = error.remedy.replace("prefetch RECIPE", f"prefetch {as_given(arguments)}")
        raise


def add_hardware_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--hardware",
        metavar="PROFILE",
        help="a file in reasoning_pipeline/hardware/profiles/ by name, or a path (default: cpu)",
    )


def add_json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def add_arm_options(parser: argparse.ArgumentParser, *, without: str) -> None:
    """`without` says in the help what the command does when no arm is named."""
    parser.add_argument(
        "--arm",
        metavar="NAME",
        action="append",
        default=[],
        dest="arms",
        help=f"an arm of the recipe, `main`, or `all`; may be repeated (default: {without})",
    )
    parser.add_argument("--arms", action="append_const", const=ALL, dest="arms", help="the same as --arm all")
    add_seeds_option(
        parser,
        "everything once under each of these seeds, sharing what a seed does not change; `all`: the recipe's own "
        "list `seeds`",
    )


def add_seeds_option(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--seeds", metavar="N,N,…", type=seed_list, help=text)


def seed_list(text: str) -> tuple[int, ...] | str:
    """`0,1,2`, or `all`, as an argument."""
    if text == ALL:
        return ALL
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected numbers such as 0,1,2, or all") from None
    return tuple(dict.fromkeys(seeds))


def seeds_of(arguments: argparse.Namespace, recipe: Recipe, *, declared: bool = False) -> tuple[int, ...]:
    """The seeds a command line means; empty for the recipe's own single one.

    Args:
        declared: Where nothing was said, take the recipe's list `seeds`.

    Raises:
        RecipeError: `--seeds all` of a recipe that declares none.
    """
    from reasoning_pipeline.errors import RecipeError

    asked = getattr(arguments, "seeds", None)
    if asked == ALL and not recipe.seeds:
        raise RecipeError(str(recipe.path), ["--seeds all: the recipe has no list `seeds`; add one, or name seeds"])
    if asked == ALL or (asked is None and declared):
        return recipe.seeds
    return asked or ()


def load(arguments: argparse.Namespace, *, declared_seeds: bool = False, sketch: bool = False) -> Plan:
    """The plan that a command line names: the arms it asks for, all where it names none, under its seeds.

    Args:
        declared_seeds: Without `--seeds`, take the recipe's list `seeds`.
        sketch: Download nothing: data that is not on this machine is counted as the recipe declares it.
    """
    from reasoning_pipeline.data.pools import Pools
    from reasoning_pipeline.data.unread import SketchedPools
    from reasoning_pipeline.plan.planner import make_plan
    from reasoning_pipeline.recipe.reading import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    pools = SketchedPools if sketch else Pools
    seeds = seeds_of(arguments, recipe, declared=declared_seeds)
    plan = make_plan(recipe, arguments.root, seeds, pools, store=store_of(arguments))
    arms = getattr(arguments, "arms", None)
    plan = replace(plan, given=as_given(arguments))
    return plan.of_arms(arms) if arms else plan
