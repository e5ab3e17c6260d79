"""How a program of ours reads its command line and how it ends: the exit status, and what it says last."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

from reasoning_pipeline.base.signals import answer_interrupts
from reasoning_pipeline.errors import PipelineError, as_storage_error

UNKNOWN = re.compile(r"invalid choice: '([^']*)'|unrecognized arguments: (-[^\s=]+)")
"""What argparse says of a word that it does not know."""


class Parser(argparse.ArgumentParser):
    """argparse's, which also names the command, choice or option that comes closest to an unknown one."""

    def error(self, message: str) -> NoReturn:
        if found := UNKNOWN.search(message):
            message += _hint(self, found[1] or found[2])
        super().error(message)


def _hint(parser: argparse.ArgumentParser, word: str) -> str:
    words = dict(_words(parser))
    if word in words:
        return f"; {word} is of {words[word]}"
    close = difflib.get_close_matches(word, words, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _words(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """(command, choice or option, the program or command whose it is)."""
    for action in parser._actions:
        yield from ((word, parser.prog) for word in (*action.option_strings, *map(str, action.choices or ())))
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _words(command)


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
