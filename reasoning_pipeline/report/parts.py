"""What a workflow adds to the page: sections, strips over the seeds, words beside an arm, tables beside the page.

A workflow's `on_page.py` lists its parts. Every method has a neutral default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from reasoning_pipeline.plan.graph import Plan, PlannedArm
from reasoning_pipeline.recipe.workflows import contributed
from reasoning_pipeline.report.strips import SeedChart


@dataclass(frozen=True, kw_only=True)
class PageSection:
    """A section of the page; its template reads `content`."""

    anchor: str
    title: str
    """In the page's list of sections."""
    template: str
    content: Any


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What somebody else found for an arm against the main arm.

    Example:
        Beside(short="paper −0.7", long="−0.7 / −0.9, within noise")
    """

    short: str
    long: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """A CSV that is written beside the page, called after it: `report_NAME.csv`."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, object], ...]


class PagePart:
    templates: ClassVar[Path | None] = None
    """The folder of its templates."""
    strips_about: ClassVar[str] = ""
    """Above the strips: what they are about, in HTML."""
    strips_note: ClassVar[str] = ""
    beside_title: ClassVar[str] = ""
    """Heads the column of `Beside.long`."""
    beside_note: ClassVar[str] = ""
    """What a reader must know of it, in HTML."""
    meanings: ClassVar[Mapping[str, str]] = {}
    """What an arm may lack (`Stage 2a`) -> what that is, for readers who meet it here for the first time."""

    def sections(self, plan: Plan) -> Iterator[PageSection]:
        """Of all arms under the first seed."""
        return iter(())

    def strips(self, plan: Plan, arms: Sequence[PlannedArm]) -> Iterator[SeedChart]:
        """Figures along the pipeline, over the seeds of one arm."""
        return iter(())

    def tables(self, plan: Plan) -> Iterator[Table]:
        return iter(())

    def beside(self, arm: Mapping[str, Any], main: Mapping[str, Any]) -> Beside | None:
        """By the sections of an arm and of the main arm."""
        return None


def parts() -> tuple[PagePart, ...]:
    return contributed("on_page")


def beside(arm: Mapping[str, Any], main: Mapping[str, Any]) -> Beside | None:
    """What the first part that has something to say says."""
    return next((found for part in parts() if (found := part.beside(arm, main)) is not None), None)
