"""Asks a published system queries that no log holds, and scores its answers by programs that know what users wished.

The evaluator sees no rule of any log: what the judge of `write_pairs` preferred cannot please it. Each query is
answered once, by whichever path the system routes it to; the share of each path and the generations a query cost are
in the record. `score_systems` of a recipe places this step behind every arm's outcome; no label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/evaluate_system.yaml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from reasoning_pipeline.recipe.stage import STEP_PROGRAM, Evaluation, File, Input
from reasoning_pipeline.workflows.user_logs.scoring import SUITE, suite_queries

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
    count: int = Field(300, ge=1)
    """Queries at most."""


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes answers with their paths, and the mean of each query."""
    from reasoning_pipeline.run.context import StageOutcome
    from reasoning_pipeline.workflows.user_logs.evaluation import evaluate_queries
    from reasoning_pipeline.workflows.user_logs.opening import open_system

    output = context.fresh_output()
    system, speaker = open_system(
        context.inputs["checkpoint"], context.profile, context.prompt, between=context.stop_if_asked
    )
    found = evaluate_queries(system, speaker, suite_queries(config.file, config.count), seed=config.seed or 0)
    found.save(output)
    return StageOutcome(output, found.figures)
