"""How figures, times and long texts read, for people: on terminals, in logs and on pages alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.tree import Tree

ABSENT = "–"

UNBOUNDED = 10_000
"""Columns of what is no terminal: no line of ours is longer."""


def counted(number: int, what: str) -> str:
    """`1 step`, `1,200 steps`."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def amount(value: float, unit: str = "") -> str:
    """`1.23M`, `1.23 GB`: decimal steps, as disks and tokens are counted."""
    if value <= 0:
        return ABSENT
    size, letter = next(
        ((size, letter) for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= size),
        (1.0, ""),
    )
    return f"{value / size:.3g}{' ' if unit else ''}{letter}{unit}"


def percent(share: float | None, digits: int = 1) -> str:
    """`0.8812 -> "88.1"`."""
    return ABSENT if share is None else f"{100 * share:.{digits}f}"


def clock(seconds: float) -> str:
    """`0:07`, `12:34`, `2:03:04`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def hours(value: float | None) -> str:
    """`2.4 h`, `31 s`: whatever reads best."""
    if value is None:
        return ABSENT
    seconds = 3600 * value
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min" if seconds < 7200 else f"{value:.1f} h"


def columns(rows: Sequence[Sequence[str]], *, right: tuple[int, ...] = ()) -> list[str]:
    """Rows of cells as lines whose cells stand below one another, two spaces apart; never wrapped, so that a pipe gets
    them whole. `right` are the columns that end together."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def excerpt(text: str, limit: int, gap: str = " … ") -> str:
    """Beginning and end of a long text: an answer stands at its end. `gap` says what is missing between them."""
    if len(text) <= limit:
        return text
    head = limit // 2
    return f"{text[:head]}{gap}{text[head - limit :]}"


def indented(text: str, lines: int) -> str:
    """The last lines of what a program wrote, set off below a sentence of ours."""
    return "\n".join(f"    {line[:300]}" for line in text.strip().splitlines()[-lines:])


def console() -> Console:
    """Where tables for people are printed: as wide as the terminal; lines are never wrapped in a pipe or a file."""
    from rich.console import Console

    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=UNBOUNDED)


def tree_text(tree: Tree) -> str:
    """A tree as lines of plain text, whole at any width."""
    import io

    from rich.console import Console

    console = Console(file=io.StringIO(), width=UNBOUNDED, color_system=None)
    with console.capture() as captured:
        console.print(tree)
    return captured.get().rstrip()
