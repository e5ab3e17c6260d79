"""How a run was made: decoding, weight pushes, provenance, and every step's record, as plain pairs of text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.report.answers import read_rows, visible
from reasoning_pipeline.report.charts import finite
from reasoning_pipeline.report.results import checkpoints

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan, PlannedStep
    from reasoning_pipeline.registry.record import Record

VALUE_CHARACTERS, MOST_FACTS = 300, 80
UNINFORMATIVE = ("wall_seconds", "cpu_seconds", "seconds", "peak_memory_mib")
"""Provenance that differs from step to step by nature; it stands with the step only."""

Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class StepDetails:
    """Folded away at the end: everything the record says."""

    step: str
    stage: str
    output: str
    complete: bool
    config: Facts
    inputs: Facts
    result: Facts
    provenance: Facts


def pushes(plan: Plan) -> Iterator[tuple[str, Facts]]:
    """Per step: how often weights went to the server, how long it took, and how well the two sides agreed."""
    for step in checkpoints(plan):
        rows = list(read_rows(step.artifact.folder / "metrics.jsonl")) if step.artifact is not None else []
        seconds = [row["push_seconds"] for row in rows if finite(row.get("push_seconds"))]
        errors = [row["probe_error"] for row in rows if finite(row.get("probe_error"))]
        if seconds or errors:
            yield (
                step.name,
                (
                    ("pushes", f"{len(seconds or errors):,}"),
                    ("median", f"{1000 * median(seconds):.0f} ms" if seconds else "–"),
                    ("slowest", f"{1000 * max(seconds):.0f} ms" if seconds else "–"),
                    ("largest difference", f"{max(errors):.1e} nats" if errors else "–"),
                ),
            )


def shared_provenance(records: Iterable[Record]) -> Facts:
    """Revision, hardware, packages, verifier over all steps; several values side by side where steps differ."""
    values: dict[str, dict[str, None]] = {}
    for record in records:
        verifier = {"verifier": record.result["verifier"]} if "verifier" in record.result else {}
        for name, value in facts(record.provenance | verifier):
            if name.split(".")[-1] not in UNINFORMATIVE:
                values.setdefault(name, {})[value] = None
    return tuple((name, _few(list(seen))) for name, seen in list(values.items())[:MOST_FACTS])


def _few(seen: list[str]) -> str:
    return "; ".join(seen[:3]) + (f"; and {len(seen) - 3} more" if len(seen) > 3 else "")


def step_details(step: PlannedStep) -> StepDetails:
    record = step.artifact.record if step.artifact is not None else None
    return StepDetails(
        step=step.name,
        stage=step.config.stage,
        output=step.output,
        complete=step.complete,
        config=facts(step.config.model_dump(mode="json", exclude={"stage"})),
        inputs=tuple((entry.field, f"{entry.reference} ({entry.fingerprint[:16]})") for entry in step.inputs),
        result=facts(record.result) if record is not None else (),
        provenance=facts(record.provenance) if record is not None else (),
    )


def facts(values: dict[str, Any], prefix: str = "") -> Facts:
    """Nested mappings as `a.b: value` lines, bounded in number and length."""
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict) and value:
            found.extend(facts(value, f"{prefix}{name}."))
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            found.append((visible(f"{prefix}{name}")[:VALUE_CHARACTERS], visible(text.strip())[:VALUE_CHARACTERS]))
    return tuple(found[:MOST_FACTS])
