"""Simulated users of the small world: the policy answers their queries, and they say what they think of it.

Each user has a wish (small_world.py) that follows from the kind of text asked for, or from nothing. Some only say
thanks, some say something wrong, some try to instruct the judge. Wishes stand in each session's `meta`, which no
later stage reads: they are there to check what the workflow found. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/simulate_logs.yaml
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from reasoning_pipeline.base.jsonl import lines
from reasoning_pipeline.recipe.stage import ModelRef, StageConfig
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.run.speaking import speaker
from reasoning_pipeline.workflows.user_logs import small_world
from reasoning_pipeline.workflows.user_logs.logs import SESSIONS_FILE


class Config(StageConfig):
    publishes: ClassVar[str] = "sessions"
    heavy: ClassVar[bool] = False

    stage: Literal["simulate_logs"] = "simulate_logs"
    policy: ModelRef
    """The base model: what answers, what adapters are for."""
    count: int = Field(400, ge=5)
    """How many."""
    batch: int = Field(0, ge=0)
    """Another batch of the same users: other queries, other remarks."""
    thanks: float = Field(0.15, ge=0, le=1)
    """Share of users who only say thanks."""
    wrong: float = Field(0.1, ge=0, le=1)
    """Share of users who say something else than they wish."""
    injected: float = Field(0.05, ge=0, le=1)
    """Share of users who also try to instruct the judge."""


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes one session a line, as `read_logs` takes them."""
    shares = config.model_dump(include={"thanks", "wrong", "injected"})
    rows = list(small_world.sessions(config.count, 1_000 * config.batch + context.seed, **shares))
    policy = speaker(context, "policy", max_prompt_tokens=128)
    decoding = Decoding(temperature=0.1, max_tokens=small_world.ANSWER_TOKENS, seed=context.seed)
    answers = policy.answer([row["query"] for row in rows], decoding)
    output = context.fresh_output()
    text = lines(
        {**row, "id": f"b{config.batch}-{row['id']}", "answer": answer}
        for row, answer in zip(rows, answers, strict=True)
    )
    (output / SESSIONS_FILE).write_text(text, encoding="utf-8")
    plain = sum(answer == row["query"].partition(" about ")[2] for row, answer in zip(rows, answers, strict=True))
    return StageOutcome(output, {"sessions": len(rows), "answered_plainly": plain / len(rows)})
