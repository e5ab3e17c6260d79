"""What an artifact came from, as a tree: also where an ancestor was removed or never was in this registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rich.text import Text
from rich.tree import Tree

from reasoning_pipeline.base.text import tree_text
from reasoning_pipeline.errors import RegistryError
from reasoning_pipeline.registry.record import Record, distinct_labels, read_record
from reasoning_pipeline.registry.store import Artifact, Registry


@dataclass(frozen=True)
class Node:
    """One artifact (or model from outside) and what it was made from."""

    name: str
    record: Record | None
    """None where only its name is known."""
    removed: bool = False
    inputs: dict[str, Node] = field(default_factory=dict)
    """Field -> where it came from."""

    @property
    def labels(self) -> int:
        """Distinct labels behind it."""
        return distinct_labels(self.record.label_spend) if self.record is not None else 0

    def artifacts(self) -> set[str]:
        """Names of everything in the tree that a step made."""
        inner = {name for parent in self.inputs.values() for name in parent.artifacts()}
        return inner | ({self.name} if self.record is not None else set())


def lineage_of(registry: Registry, artifact: Artifact) -> Node:
    """The whole tree; an ancestor that is reached twice is one node."""
    nodes: dict[str, Node] = {}

    def node(name: str) -> Node:
        if name not in nodes:
            nodes[name] = Node(name, None)  # ends the walk where edited records name each other in a circle
            nodes[name] = made(name)
        return nodes[name]

    def made(name: str) -> Node:
        found = artifact if name == artifact.name else registry.get(name)
        removed = registry.removed(name) if found is None else None
        record = found.record if found is not None else Record.model_validate(removed) if removed else None
        if record is None:
            return Node(name, None)
        inputs = {
            field: node(entry.artifact) if entry.artifact else Node(entry.reference, None)
            for field, entry in record.inputs.items()
        }
        return Node(name, record, found is None, inputs)

    return node(artifact.name)


def lineage_text(registry: Registry, artifact: Artifact, *, scores: bool = False) -> str:
    """The tree as plain text; what was told once is not told again. With `scores`, those of each checkpoint too."""
    told: set[str] = set()
    known = _scores(registry) if scores else {}

    def tree(node: Node, prefix: str) -> Tree:
        again = bool(node.inputs) and node.name in told
        told.add(node.name)
        line = f"{prefix}{describe(node)}"
        if again:
            return Tree(Text(f"{line}: as above"))
        found = [row for row in known.get(node.name, ()) if row["accuracy"] is not None]
        made = Tree(Text(line + "".join(f"  {row['suite']} {row['accuracy']:.1%}" for row in found)))
        made.children += [tree(parent, f"{field}: ") for field, parent in node.inputs.items()]
        return made

    return tree_text(tree(lineage_of(registry, artifact), ""))


def describe(node: Node) -> str:
    """One line: name, who made it, labels behind it."""
    if node.record is None:
        known = "-" in node.name and "/" not in node.name  # as a folder of the registry is called
        return f"{node.name}{' (not here)' if known else ''}"
    labels = f", {node.labels:,} labels" if node.labels else ""
    return f"{node.name} ({node.record.recipe}/{node.record.step}{labels}{', removed' if node.removed else ''})"


def scores_of(registry: Registry, checkpoint: str) -> list[dict[str, Any]]:
    """Suite, accuracy, interval and sizes from every evaluation of a checkpoint, oldest first."""
    return _scores(registry).get(checkpoint, [])


def _scores(registry: Registry) -> dict[str, list[dict[str, Any]]]:
    """Checkpoint -> its scores; every evaluation's record is read."""
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for folder in registry.folders():
        if not folder.name.startswith("evaluate-"):
            continue
        try:
            record = read_record(folder)
        except RegistryError:  # `verify` names it; another evaluation's damage says nothing about this checkpoint
            continue
        entry = record.inputs.get("checkpoint")
        for suite, figures in (record.result.get("suites") or {}).items():
            row = {name: figures.get(name) for name in ("accuracy", "interval", "problems", "samples", "truncated")}
            if entry is not None and entry.artifact is not None:
                found.setdefault(entry.artifact, []).append((record.created, {"suite": suite, **row}))
    order = {name: sorted(rows, key=lambda pair: (pair[0], pair[1]["suite"])) for name, rows in found.items()}
    return {name: [row for _, row in rows] for name, rows in order.items()}
