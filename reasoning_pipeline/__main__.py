"""`python -m reasoning_pipeline`: arguments first, heavy imports later."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from reasoning_pipeline import __version__
from reasoning_pipeline.base.command_line import Parser, exit_status
from reasoning_pipeline.beside import PIPELINE
from reasoning_pipeline.commands import COMMANDS
from reasoning_pipeline.commands.options import naming_the_recipe

DESCRIPTION = "One recipe, four stages: sparse reward on the teacher, dense transfer to the student."


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done; 1 a step failed; 2 bad input; 130 stopped."""
    words = sys.argv[1:] if argv is None else argv
    asked = next((word for word in words if not word.startswith("-")), "")
    arguments = _parser(asked).parse_args(words)
    arguments.words = words  # for messages that say what to type again

    def command() -> int:
        with naming_the_recipe(arguments):
            return int(arguments.command(arguments))

    return exit_status(command, stopped="stopped")


def _parser(asked: str) -> argparse.ArgumentParser:
    """With a line for every command, and the arguments of the one that is asked for."""
    parser = Parser(prog=PIPELINE, description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    file = COMMANDS[asked].file if asked in COMMANDS else None
    for name, command in COMMANDS.items():
        if command.file != file:
            commands.add_parser(name, help=command.text)
    if file is not None:
        import_module(f"reasoning_pipeline.commands.{file}").add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
