"""`python -m reasoning_pipeline`: arguments first, heavy imports later."""

from __future__ import annotations

import argparse
import sys

from reasoning_pipeline.commands import artifacts, doctor, labels, run_command, stages, why
from reasoning_pipeline.commands import compare_paper as paper
from reasoning_pipeline.commands import options as recipes
from reasoning_pipeline.commands import serve as servers

DESCRIPTION = "One recipe, four stages: sparse reward on the teacher, dense transfer to the student."


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done; 1 a step failed; 2 bad input; 130 stopped."""
    return run_command(_parser(), argv, stopped="stopped")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reasoning_pipeline", description=DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    for group in (recipes, doctor, why, labels, paper, artifacts, stages, servers):
        group.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
