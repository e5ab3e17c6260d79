"""Asks a published system queries that no log holds, and scores its answers by programs that know what users wished.

The evaluator sees no rule of any log: what the judge of `write_pairs` preferred cannot please it. Each query is
answered once, by whichever path the system routes it to; the share of each path and the generations a query cost are
in the record. `score_systems` of a recipe places this step behind every arm's outcome; no label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/evaluate_system.yaml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from reasoning_pipeline.recipe.stage import STEP_PROGRAM, Evaluation, File, Input
from reasoning_pipeline.workflows.user_logs.logs import HubLogs
from reasoning_pipeline.workflows.user_logs.players import Judging
from reasoning_pipeline.workflows.user_logs.roles import judge
from reasoning_pipeline.workflows.user_logs.scoring import SUITE, hub_queries, suite_queries

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext, StageOutcome


class Config(Evaluation):
    program: ClassVar[tuple[str, ...]] = (STEP_PROGRAM,)

    stage: Literal["evaluate_system"] = "evaluate_system"
    checkpoint: Annotated[str, Input("system")]
    suites: tuple[str, ...] = (SUITE,)
    """Always the one of this workflow."""
    samples: int = Field(1, ge=1, le=1)
    file: Annotated[str | None, File()] = None
    """JSONL of queries with checks (scoring.py), relative to the recipe; the small world's own where none is given."""
    hub: HubLogs | None = Field(None, exclude_if=lambda hub: hub is None)
    """Queries of a data set of the hub, such as MemoryBench's test split; a judge then scores."""
    count: int = Field(300, ge=1)
    """Queries at most; of each subset of `hub`."""
    judge: Annotated[str | None, Input("checkpoint")] = None
    """A model that scores what programs cannot, and is shown no rule; best another than the judge of the pairs."""
    judging: Judging = Field(Judging(), exclude_if=lambda judging: judging == Judging())
    """How it is asked."""

    @property
    def generator(self) -> str | None:
        return "judge" if self.judge is not None else None

    @model_validator(mode="after")
    def _somebody_scores(self) -> Self:
        if (self.hub is None) != (self.judge is None) or (self.hub is not None and self.file is not None):
            raise ValueError("`hub` needs `judge`, and no `file`; without `hub` programs score")
        return self


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes answers with their paths, and the mean of each query."""
    from reasoning_pipeline.run.context import StageOutcome
    from reasoning_pipeline.run.speaking import speaker as asking
    from reasoning_pipeline.workflows.user_logs.evaluation import evaluate_queries
    from reasoning_pipeline.workflows.user_logs.opening import open_system

    output = context.fresh_output()
    system, speaker = open_system(
        context.inputs["checkpoint"], context.profile, context.prompt, between=context.stop_if_asked
    )
    if config.hub is None:
        queries, referee = suite_queries(config.file, config.count), None
    else:
        queries, limit = hub_queries(config.hub, config.count), system.thresholds.max_prompt_tokens
        own = asking(context, "judge", max_prompt_tokens=2 * limit)
        referee = judge(own, config.judging, config.seed or 0)
    found = evaluate_queries(system, speaker, queries, config.seed or 0, referee)
    found.save(output)
    return StageOutcome(output, found.figures)
