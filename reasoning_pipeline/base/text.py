"""A tree as lines of plain text, whole at any width: for terminals, logs and files alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Branch:
    """One line and what stands below it.

    Example:
        "\\n".join(Branch("a", [Branch("b"), Branch("c", [Branch("d")])]).lines())
        a
        ├─ b
        └─ c
           └─ d
    """

    text: str
    children: list[Branch] = field(default_factory=list)

    def lines(self, first: str = "", rest: str = "") -> Iterator[str]:
        yield first + self.text
        for number, child in enumerate(self.children, start=1):
            last = number == len(self.children)
            yield from child.lines(f"{rest}{'└─ ' if last else '├─ '}", f"{rest}{'   ' if last else '│  '}")
