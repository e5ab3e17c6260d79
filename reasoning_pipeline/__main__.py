"""`python -m reasoning_pipeline`: arguments first, heavy imports later."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from importlib import import_module

from reasoning_pipeline import __version__
from reasoning_pipeline.base.command_line import Parser, exit_status
from reasoning_pipeline.beside import PIPELINE
from reasoning_pipeline.commands import COMMANDS
from reasoning_pipeline.commands.options import naming_the_recipe

DESCRIPTION = "One recipe, four stages: sparse reward on the teacher, dense transfer to the student."


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done; 1 a step failed; 2 bad input; 130 stopped."""
    # What imports make is there to stay; looking through it again and again took a twelfth of `plan`.
    gc.set_threshold(300_000)
    words = sys.argv[1:] if argv is None else argv
    arguments = _parser(words).parse_args(words)
    arguments.words = words  # for messages that say what to type again

    def command() -> int:
        with naming_the_recipe(arguments):
            return int(arguments.command(arguments))

    return exit_status(command, stopped="stopped")


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """With the arguments of the command that is asked for, and a line for every other where they may be told."""
    parser = Parser(prog=PIPELINE, description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    asked = next((word for word in words if not word.startswith("-")), "")
    file = COMMANDS[asked].file if asked in COMMANDS else None
    known = file is not None and words[0] == asked  # then neither a help nor a mistake names the others
    for name, command in COMMANDS.items():
        if command.file != file and not known:
            commands.add_parser(name, help=command.text)
    if file is not None:
        import_module(f"reasoning_pipeline.commands.{file}").add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
