"""`python -m evals`: arguments first, heavy imports later."""

from __future__ import annotations

import importlib
import sys

from reasoning_pipeline.base.command_line import exit_status

from .commands import COMMANDS, PLAN_STEP


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done; 1 or the error's own status where something can be mended; 2 bad input; 130 stopped."""
    argv = sys.argv[1:] if argv is None else argv
    named = argv[:1] and argv[0] in (*COMMANDS, PLAN_STEP)
    module, words = (argv[0], argv[1:]) if named else ("cli", argv)
    return exit_status(
        lambda: int(importlib.import_module(f"{__package__}.{module}").main(words)),
        stopped="stopped; the same command continues where it was",
    )


if __name__ == "__main__":
    sys.exit(main())
