"""The cognitive gap of each cluster: how little of what users asked for could have been guessed from the query.

A scorer says of each rule whether the rules guessed from the query cover it (gap.py); a log's gap is the minimum of 1
- p(yes) over its rules, a cluster's the mean over its logs. Before anything is measured the scorer is tried on
covered and uncovered pairs, and refused where it cannot tell them apart. The gap saves training; it is not needed for
quality (the paper says so), and `enabled: false` leaves it out. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/measure_cognitive_gap.yaml
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.recipe.stage import Input
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.workflows.user_logs import small_world
from reasoning_pipeline.workflows.user_logs.clusters import Grouping
from reasoning_pipeline.workflows.user_logs.gap import CALIBRATION, GAP_FILE, calibrate, cluster_gaps, log_gaps
from reasoning_pipeline.workflows.user_logs.roles import coverage
from reasoning_pipeline.workflows.user_logs.rules import load_rules
from reasoning_pipeline.workflows.user_logs.settings import GAP, PLAYED, Played


class Config(Played):
    publishes: ClassVar[str] = "cognitive_gap"
    role: ClassVar[str] = "scorer"

    stage: Literal["measure_cognitive_gap"] = "measure_cognitive_gap"
    rules: Annotated[str, Input("rules")]
    """Logs with their rules."""
    clusters: Annotated[str, Input("clusters")]
    """Which log is in which cluster."""
    scorer: Annotated[str | None, Input("checkpoint")] = None
    """A model that says yes or no, where `by: model`: a reranker."""
    enabled: bool = True
    """False measures nothing: every cluster may then have an expert, if the judge agrees."""
    max_tokens: int = Field(8192, ge=64)
    """Of one prompt; a longer one loses its beginning."""

    @property
    def generator(self) -> str | None:
        return super().generator if self.enabled else None

    def lengths(self) -> tuple[int, int]:
        return self.max_tokens, 1


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes gap.json: cluster -> gap."""
    output = context.fresh_output()
    if not config.enabled:
        write_json(output / GAP_FILE, {"clusters": {}})
        return StageOutcome(output, {"enabled": False})
    ruled = load_rules(context.inputs["rules"])
    labels = Grouping.load(context.inputs["clusters"]).labels
    covered = coverage(context, config.max_tokens)
    calibration = calibrate(covered, small_world.CALIBRATION if config.by == "small_world" else CALIBRATION)
    gaps = log_gaps([one.rules for one in ruled], [one.prior for one in ruled], covered)
    found = cluster_gaps(gaps, [labels[one.log.id] for one in ruled])
    write_json(output / GAP_FILE, {"clusters": {str(cluster): entry for cluster, entry in found.items()}})
    for cluster, entry in found.items():
        print(f"cluster {cluster}: gap {entry['gap']:.2f} over {entry['logs']} logs")
    return StageOutcome(
        output,
        {
            "clusters": {str(cluster): round(entry["gap"], 4) for cluster, entry in found.items()},
            "high": sum(entry["gap"] > GAP for entry in found.values()),
            "calibration": asdict(calibration),
            "scorer": PLAYED[config.by],
        },
    )
