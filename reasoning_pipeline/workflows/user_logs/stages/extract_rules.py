"""Rules out of logs, twice: from what the user said, and from the query alone, as anybody might have guessed.

A model writes each as a JSON list; what cannot be read is counted and the log
set aside. Logs whose feedback holds no rule are dropped (`drop_empty`), as the paper says and its released code does
not. The small world's extractor is a program that reads the same feedback. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/extract_rules.yaml
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from reasoning_pipeline.base.jsonl import lines
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.recipe.stage import Input, StageConfig
from reasoning_pipeline.recipe.work import Known, Work
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.run.speaking import Memory, speaker
from reasoning_pipeline.workflows.user_logs.logs import ReadLogs, load_logs
from reasoning_pipeline.workflows.user_logs.roles import extract
from reasoning_pipeline.workflows.user_logs.rules import RULES_FILE, load_rules, parse_rules
from reasoning_pipeline.workflows.user_logs.settings import Player


class Config(StageConfig):
    publishes: ClassVar[str] = "rules"
    heavy: ClassVar[bool] = False

    stage: Literal["extract_rules"] = "extract_rules"
    logs: Annotated[str, Input("logs")]
    """Checked logs."""
    before: Annotated[str | None, Input("rules")] = None
    """Logs with rules of an earlier batch, kept as they are; a log that is among them is not read again."""
    by: Player = "model"
    """A model, or the small world's program in its place."""
    extractor: Annotated[str | None, Input("checkpoint")] = None
    """The model that writes them, where `by: model`."""
    drop_empty: bool = True
    """Leave logs out whose feedback holds no rule; off, they are kept and make no pair."""
    temperature: float = Field(0.1, ge=0)
    """Of sampling."""
    max_prompt_tokens: int = Field(12_000, ge=16)
    """A longer prompt ends the step."""
    max_completion_tokens: int = Field(1024, ge=16)
    """Of one answer."""

    @property
    def generator(self) -> str | None:
        return "extractor" if self.by == "model" else None

    def work(self, known: Known) -> Work | None:
        logs = known.made_by("logs")
        if logs is None or self.by != "model":
            return None
        return Work(
            rows=2 * logs.rows,
            prompt_limit=self.max_prompt_tokens,
            completion_limit=self.max_completion_tokens,
            policy="extractor",
            generates=True,
        )

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if (self.by == "model") != (self.extractor is not None):
            raise ValueError("`by: model` needs `extractor`, and only it does")
        return self


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes the logs that are kept, and rules.jsonl with `rules` and `prior` of each."""
    earlier = load_rules(context.inputs["before"]) if config.before is not None else []
    known = {one.log.id for one in earlier}
    logs = [log for log in load_logs(context.inputs["logs"]) if log.id not in known]
    model = None
    if config.by == "model":
        memory = Memory(context.work / "replies.jsonl")
        model = speaker(context, "extractor", max_prompt_tokens=config.max_prompt_tokens, memory=memory)
    decoding = Decoding(temperature=config.temperature, max_tokens=config.max_completion_tokens, seed=context.seed)
    read = _Read([one.as_row() for one in earlier])
    for log, (said, guessed) in zip(logs, extract(model, logs, decoding), strict=True):
        read.add(log.id, said, guessed, drop_empty=config.drop_empty)
    if not read.rows:
        raise PipelineError(
            f"no log of {len(logs)} holds a rule: {dict(read.problems)}",
            remedy="look at the feedback, or at the extractor's replies in the work folder",
        )
    kept = {row["id"] for row in read.rows}
    output = context.fresh_output()
    found = [*(one.log for one in earlier), *(log for log in logs if log.id in kept)]
    ReadLogs(logs=found, set_aside=read.aside).save(output)
    (output / RULES_FILE).write_text(lines(read.rows), encoding="utf-8")
    return StageOutcome(
        output,
        {
            "logs": len(logs),
            "kept": len(read.rows),
            "dropped_empty": read.empty,
            "unreadable": dict(sorted(read.problems.items())),
            "rules": sum(len(row["rules"]) for row in read.rows),
            "prior_rules": sum(len(row["prior"]) for row in read.rows),
            "extractor": "a model" if model is not None else "a program, in the place of a model",
        },
    )


class _Read:
    """What came of the replies so far."""

    def __init__(self, earlier: list[dict[str, Any]]) -> None:
        self.rows = earlier
        self.aside: list[dict[str, object]] = []
        self.problems: Counter[str] = Counter()
        self.empty = 0

    def add(self, name: str, said: str, guessed: str, *, drop_empty: bool) -> None:
        rules, prior = parse_rules(said), parse_rules(guessed)
        for problem in (rules.problem, prior.problem):
            if problem is not None:
                self.problems[problem] += 1
        if not rules.rules and (drop_empty or rules.problem is not None):
            self.empty += rules.problem is None
            self.aside.append({"id": name, "reason": rules.problem or "no rule in the feedback"})
            return
        self.rows.append({"id": name, "rules": list(rules.rules), "prior": list(prior.rules)})
