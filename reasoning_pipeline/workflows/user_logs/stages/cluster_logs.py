"""Clusters of logs by query and rules, with centroids that a query alone can be compared with.

Dual features, Ward's agglomeration (clusters.py). `ward_increment` is the rise of the sum of squares at which it
stops, as the paper says it; `ward_height` the height that its released code passes, with height² / 2 = increment.
Ward's increment grows with the number of logs, so it is scaled from `of_logs` to those there are. The table of
clusters is printed: always look at it. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/cluster_logs.yaml
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.recipe.stage import Input, StageConfig
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.workflows.user_logs.clusters import (
    CLUSTERS_FILE,
    Router,
    as_before,
    centroids,
    dual_features,
    height_of,
    ward_labels,
)
from reasoning_pipeline.workflows.user_logs.roles import embedder
from reasoning_pipeline.workflows.user_logs.rules import RuledLog, load_rules
from reasoning_pipeline.workflows.user_logs.settings import Embedding

GIANT = 0.9
"""A cluster with more than this share of the logs is told of: nothing was divided."""


class Config(StageConfig):
    publishes: ClassVar[str] = "clusters"
    heavy: ClassVar[bool] = False

    stage: Literal["cluster_logs"] = "cluster_logs"
    rules: Annotated[str, Input("rules")]
    """Logs with their rules."""
    before: Annotated[str | None, Input("system")] = None
    """A published system to continue: while the number of clusters stays, its centroids and their numbers do."""
    embedding: Embedding = Embedding()
    """How texts become vectors."""
    embedder: Annotated[str | None, Input("checkpoint")] = None
    """The model that embeds, where `embedding.by: model`."""
    method: Literal["ward", "none"] = "ward"
    """`none` puts all logs into one cluster."""
    ward_increment: float | None = Field(None, gt=0)
    """4.0, of 600 logs, where neither it nor `ward_height` is given."""
    ward_height: float | None = Field(None, gt=0)
    """The same as a height in the dendrogram: height² / 2 = increment."""
    of_logs: int | None = Field(600, ge=1)
    """The number of logs that the increment is meant for (the paper's groups have 570 to 903); None does not scale."""

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.embedding.by == "model") != (self.embedder is not None):
            raise ValueError("`embedding.by: model` needs `embedder`, and only it does")
        if self.ward_increment is not None and self.ward_height is not None:
            raise ValueError("ward_increment and ward_height say the same (height² / 2 = increment): give one")
        return self

    def height(self, logs: int) -> float:
        """Where the dendrogram of so many logs is cut."""
        if self.ward_height is not None:
            return self.ward_height
        scale = logs / self.of_logs if self.of_logs is not None else 1.0
        return height_of((self.ward_increment or 4.0) * scale)


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes clusters.json (log -> cluster) and the centroids."""
    ruled = load_rules(context.inputs["rules"])
    folder = context.inputs.get("embedder")
    embed = embedder(folder, config.embedding, device=context.profile.device, dtype=context.profile.precision)
    queries_ND = embed([one.log.question for one in ruled])
    rules_ND = embed(["\n".join(one.rules) for one in ruled])
    height = config.height(len(ruled))
    if config.method == "ward":
        labels = ward_labels(dual_features(queries_ND, rules_ND), height=height)
    else:
        labels = np.zeros(len(ruled), dtype=int)
    output = context.fresh_output()
    found_CD = centroids(queries_ND, labels)
    kept = None
    if config.before is not None:
        before_CD = Router.load(context.inputs["before"], unseen_distance=0.0).centroids
        kept = as_before(found_CD, before_CD)
        if kept is not None:
            labels, found_CD = np.array([kept[label] for label in labels]), before_CD
        now = f"{len(before_CD)} clusters are {len(found_CD)} now: all anew"
        print(now if kept is None else "the earlier centroids are kept")
    Router(found_CD, unseen_distance=0.0).save(output)
    rows = _table(ruled, labels.tolist())
    write_json(
        output / CLUSTERS_FILE,
        {
            "embedder": folder.name if folder is not None else None,
            "embedding": config.embedding.model_dump(),
            "height": height,
            "continues": context.inputs["before"].name if kept is not None else None,
            "labels": {one.log.id: int(label) for one, label in zip(ruled, labels, strict=True)},
            "table": rows,
        },
    )
    for row in rows:
        print("cluster {cluster}: {logs} logs ({share:.0%}); {query!r}; {rules!r}".format(**row))
    largest = max(row["share"] for row in rows)
    if config.method == "ward" and largest > GIANT and len(ruled) > 1:
        print(f"note: one cluster holds {largest:.0%} of the logs; a lower ward_increment divides more")
    return StageOutcome(output, {"logs": len(ruled), "clusters": len(rows), "height": height, "table": rows})


def _table(ruled: list[RuledLog], labels: list[int]) -> list[dict[str, Any]]:
    """One row a cluster, for people: size, share, an example of a query, an example of rules."""
    rows = []
    for cluster in range(max(labels) + 1):
        first, *more = (one for one, label in zip(ruled, labels, strict=True) if label == cluster)
        size = {"cluster": cluster, "logs": 1 + len(more), "share": round((1 + len(more)) / len(labels), 4)}
        rows.append({**size, "query": first.log.question[:80], "rules": "; ".join(first.rules)[:80]})
    return rows
