"""`python -m reasoning_pipeline`: arguments first, heavy imports later."""

from __future__ import annotations

import argparse
import sys

from reasoning_pipeline import __version__
from reasoning_pipeline.base.command_line import exit_status
from reasoning_pipeline.beside import PIPELINE
from reasoning_pipeline.commands import (
    artifacts,
    compare_paper,
    doctor,
    exchange,
    gc,
    labels,
    plan,
    recipes,
    report,
    run,
    serve,
    stages,
    status,
    why,
)

DESCRIPTION = "One recipe, four stages: sparse reward on the teacher, dense transfer to the student."


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done; 1 a step failed; 2 bad input; 130 stopped."""
    arguments = _parser().parse_args(argv)
    return exit_status(lambda: arguments.command(arguments), stopped="stopped")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PIPELINE, description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    registry_and_servers = (artifacts, gc, exchange, stages, serve, status)
    for module in (recipes, plan, run, report, doctor, why, labels, compare_paper, *registry_and_servers):
        module.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
