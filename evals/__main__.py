"""`python -m evals`: arguments first, heavy imports later."""

from __future__ import annotations

import importlib
import sys

COMMANDS = {
    "compare": "two or more runs, problem by problem",
    "grade": "judge a JSONL of gold and prediction",
    "regrade": "judge a run's stored answers again",
    "overlap": "training problems that stand in a benchmark",
}
PLAN_STEP = "step"
"""`python -m evals step CONTEXT.json`: an evaluation as a step of a plan; called by the runner, not by people."""


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done; 1 or the error's own status where something can be mended; 2 bad input; 130 stopped."""
    argv = sys.argv[1:] if argv is None else argv
    from reasoning_pipeline.base.signals import answer_interrupts
    from reasoning_pipeline.errors import PipelineError

    answer_interrupts()
    try:
        if argv and argv[0] in (*COMMANDS, PLAN_STEP):
            return importlib.import_module(f"evals.{argv[0]}").main(argv[1:])
        from evals import cli

        return cli.main(argv)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("stopped; the same command continues where it was", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` had enough
        sys.stderr.close()
        return 1


if __name__ == "__main__":
    sys.exit(main())
