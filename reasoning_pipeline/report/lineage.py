"""The plan's graph as rows with a gutter of lines beside them, the way a version history is drawn.

Rows keep their text at any width, and a graph of fifty steps is only a longer one. A step's lane goes on until its last
reader; a policy that is read for the last time hands its lane to the step that trains it further.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reasoning_pipeline.report.results import Role, roles

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan, PlannedStep

LANE_PX = 24


@dataclass(frozen=True)
class Line:
    """One stroke of a row's gutter; x in pixels, y in percent of the row's height."""

    path: str
    kind: str
    """Which input it carries: `policy`, or another field's name."""
    role: Role


@dataclass(frozen=True, kw_only=True)
class GraphRow:
    """One step and the lines that pass it."""

    step: str
    stage: str
    role: Role
    complete: bool
    evaluated: bool | None
    """None where the recipe does not evaluate it."""
    lane: int
    lines: tuple[Line, ...]
    inputs: tuple[tuple[str, str], ...]
    """(field, where from)."""
    spends: tuple[tuple[str, int, bool], ...]
    """(pool, labels, replayed) of this step."""
    labels: int
    """Distinct labels of the whole lineage."""
    output: str

    @property
    def x(self) -> int:
        return _x(self.lane)


@dataclass(frozen=True)
class Graph:
    rows: tuple[GraphRow, ...]
    width: int
    """Of the gutter, in pixels."""
    most_labels: int


@dataclass
class _Lanes:
    """Who occupies which lane while the rows are walked from top to bottom."""

    owners: list[str | None] = field(default_factory=list)

    def of(self, step: str) -> int:
        return self.owners.index(step)

    def take(self, step: str, preferred: int | None) -> int:
        free = [i for i, owner in enumerate(self.owners) if owner is None]
        lane = preferred if preferred is not None else (free[0] if free else len(self.owners))
        if lane == len(self.owners):
            self.owners.append(step)
        self.owners[lane] = step
        return lane


def lineage_graph(plan: Plan) -> Graph:
    """All steps but evaluations and measurements: the former are marks on the checkpoint they score."""
    from reasoning_pipeline.registry.record import distinct_labels

    steps = [step for step in plan.steps if type(step.config).publishes not in ("evaluation", "measurement")]
    chain, readers, lanes = roles(plan), _last_readers(steps), _Lanes()
    rows = []
    for position, step in enumerate(steps):
        lane, lines = _draw(step, position, readers, lanes, chain)
        evaluation = plan.evaluation_of(step.name)
        rows.append(
            GraphRow(
                step=step.name,
                stage=step.config.stage,
                role=chain[step.name],
                complete=step.complete,
                evaluated=None if evaluation is None else evaluation.complete,
                lane=lane,
                lines=lines,
                inputs=tuple((entry.field, entry.step or entry.reference) for entry in step.inputs),
                spends=tuple((spend.pool, spend.labels, spend.replay) for spend in step.spends),
                labels=distinct_labels(step.lineage),
                output=step.output,
            )
        )
    return Graph(tuple(rows), LANE_PX * max(1, len(lanes.owners)), max((row.labels for row in rows), default=0))


def _last_readers(steps: Sequence[PlannedStep]) -> dict[str, int]:
    """Step -> position of the last step that reads it; absent where none does."""
    return {entry.step: i for i, step in enumerate(steps) for entry in step.inputs if entry.step is not None}


def _draw(
    step: PlannedStep, position: int, readers: dict[str, int], lanes: _Lanes, chain: dict[str, Role]
) -> tuple[int, tuple[Line, ...]]:
    sources = {entry.step: entry.field for entry in reversed(step.inputs) if entry.step is not None}
    above = [(i, owner) for i, owner in enumerate(lanes.owners) if owner is not None]
    from_lane = {source: lanes.of(source) for source in sources}
    for source in sources:
        if readers[source] == position:
            lanes.owners[from_lane[source]] = None
    policy = next((source for source, name in sources.items() if name == "policy"), None)
    inherits = policy is not None and readers[policy] == position
    lane = lanes.take(step.name, from_lane[policy] if inherits and policy is not None else None)
    lines = [Line(f"M{_x(i)} 0V100", "policy", chain[owner]) for i, owner in above if lanes.owners[i] == owner]
    for source, name in sources.items():
        lines.append(Line(_bend(from_lane[source], lane), name, chain[source]))
    if step.name in readers:
        lines.append(Line(f"M{_x(lane)} 50V100", "policy", chain[step.name]))
    else:
        lanes.owners[lane] = None
    return lane, tuple(lines)


def _x(lane: int) -> int:
    return LANE_PX * lane + LANE_PX // 2


def _bend(start: int, end: int) -> str:
    """From the top of a row to its middle."""
    return f"M{_x(start)} 0V50" if start == end else f"M{_x(start)} 0C{_x(start)} 35 {_x(end)} 15 {_x(end)} 50"
