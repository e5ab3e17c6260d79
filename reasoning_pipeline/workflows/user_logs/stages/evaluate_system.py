"""Asks a published system queries that no log holds, and scores its answers by programs that know what users wished.

The evaluator sees no rule of any log: what the judge of `write_pairs` preferred cannot please it. Each query is
answered once, by whichever path the system routes it to; the share of each path and the generations a query cost are
in the record. `score_systems` of a recipe places this step behind every arm's outcome; no label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/evaluate_system.yaml
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from reasoning_pipeline.recipe.stage import STEP_PROGRAM, Evaluation, Input
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.run.speaking import speaker as asking
from reasoning_pipeline.workflows.user_logs.evaluation import ask, evaluated
from reasoning_pipeline.workflows.user_logs.opening import open_system
from reasoning_pipeline.workflows.user_logs.roles import judge
from reasoning_pipeline.workflows.user_logs.scoring import SUITE, Scoring


class Config(Evaluation, Scoring):
    program: ClassVar[tuple[str, ...]] = (STEP_PROGRAM,)

    stage: Literal["evaluate_system"] = "evaluate_system"
    checkpoint: Annotated[str, Input("system")]
    suites: tuple[str, ...] = (SUITE,)
    """Always the one of this workflow."""
    samples: int = Field(1, ge=1, le=1)

    @property
    def generator(self) -> str | None:
        return "judge" if self.judge is not None else None

    def lengths(self) -> tuple[int, int]:
        return 0, self.judging.max_tokens if self.judge is not None else 0

    @model_validator(mode="after")
    def _somebody_scores(self) -> Self:
        if self.hub is not None and (self.judge is None or self.file is not None):
            raise ValueError("`hub` needs `judge`, and no `file`; without `hub` programs score")
        if self.judge is not None and self.hub is None and self.file is None:
            raise ValueError("`judge` needs `file` or `hub`: programs score the small world")
        return self


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes answers with their paths, and the mean of each query."""
    queries, seed = config.queries(), config.seed or 0
    output = context.fresh_output()
    system, speaker = open_system(
        context.inputs["checkpoint"], context.profile, context.prompt, between=context.stop_if_asked
    )
    asked, referee = ask(system, speaker, queries, seed), None
    if config.judge is not None:
        own = asking(context, "judge", max_prompt_tokens=system.judge_reads)
        referee = judge(own, config.judging, seed)
    found = evaluated(asked, referee, tokens=speaker.tokens)
    found.save(output)
    return StageOutcome(output, found.figures)
