"""`--arm`, `--arms`, `--seeds`: which part of a plan a command is about."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasoning_pipeline.recipe.reading import Recipe

ALL = "all"


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
    parser.add_argument(
        "--seeds",
        metavar="N,N,…",
        type=seed_list,
        help="everything once under each of these seeds, sharing what a seed does not change; `all`: the recipe's own "
        "list `seeds`",
    )


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
