"""The command line: a file a command, with its printing; each has `add(commands)`, and imports late what is heavy."""

from __future__ import annotations

import argparse
import sys

from reasoning_pipeline.errors import PipelineError, as_storage_error


def run_command(parser: argparse.ArgumentParser, argv: list[str] | None, *, stopped: str | None) -> int:
    """Do what a command line asks for; the exit status of the program. `stopped` is what Ctrl-C prints."""
    arguments = parser.parse_args(argv)
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
