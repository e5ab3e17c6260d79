"""`python -m reasoning_pipeline`: arguments first, heavy imports later."""

from __future__ import annotations

import argparse
import sys

from reasoning_pipeline.commands import artifacts, doctor, labels, recipes, servers, stages, why
from reasoning_pipeline.errors import PipelineError, as_storage_error

DESCRIPTION = "One recipe, four stages: sparse reward on the teacher, dense transfer to the student."


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done; 1 a step failed; 2 bad input; 130 stopped."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.command(arguments))
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` had enough
        sys.stderr.close()
        return 1
    except OSError as error:
        print(f"error: {as_storage_error(error) or error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reasoning_pipeline", description=DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    for group in (recipes, doctor, why, labels, artifacts, stages, servers):
        group.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
