"""How a program of ours ends: the exit status that its command line leaves with, and what it says last."""

from __future__ import annotations

import sys
from collections.abc import Callable

from reasoning_pipeline.base.signals import answer_interrupts
from reasoning_pipeline.errors import PipelineError, as_storage_error


def exit_status(command: Callable[[], int], *, stopped: str | None) -> int:
    """Do what a command line asks for. `stopped` is what Ctrl-C prints."""
    answer_interrupts()
    try:
        return command()
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
