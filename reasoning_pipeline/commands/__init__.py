"""The command line: one module a group of commands, each with `add(commands)`; heavy imports wait in its functions."""

from __future__ import annotations

import argparse
import sys

from reasoning_pipeline.base.signals import answer_interrupts
from reasoning_pipeline.errors import PipelineError, as_storage_error


def run_command(parser: argparse.ArgumentParser, argv: list[str] | None, *, stopped: str | None) -> int:
    """Do what a command line asks for; the exit status of the program. `stopped` is what Ctrl-C prints."""
    arguments = parser.parse_args(argv)
    answer_interrupts()
    try:
        return int(arguments.command(arguments))
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        if stopped is not None:
            print(stopped, file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` had enough
        sys.stderr.close()
        return 1
    except OSError as error:
        print(f"error: {as_storage_error(error) or error}", file=sys.stderr)
        return 1
