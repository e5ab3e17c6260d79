"""What `cluster_logs` and `measure_cognitive_gap` published, read again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLUSTERS_FILE, GAP_FILE = "clusters.json", "gap.json"


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """Example: Grouping(labels={"s-17": 0, "s-18": 1}, embedder=None, embedding={"by": "words"})."""

    labels: dict[str, int]
    embedder: str | None
    embedding: dict[str, Any]
    continues: str | None = None
    """The system whose centroids these are, where they were kept."""

    @property
    def count(self) -> int:
        return max(self.labels.values()) + 1

    def members(self, cluster: int, among: dict[str, Any]) -> list[str]:
        """Names of `among` that stand in a cluster."""
        return [name for name in among if self.labels.get(name) == cluster]

    @classmethod
    def load(cls, folder: Path) -> Grouping:
        values = json.loads((folder / CLUSTERS_FILE).read_text(encoding="utf-8"))
        known = {name: values.get(name) for name in ("labels", "embedder", "embedding", "continues")}
        return cls(**known)


def load_gaps(folder: Path | None) -> dict[int, float]:
    """Cluster -> gap; empty where none was measured."""
    if folder is None:
        return {}
    values = json.loads((folder / GAP_FILE).read_text(encoding="utf-8"))
    return {int(cluster): entry["gap"] for cluster, entry in values["clusters"].items()}
