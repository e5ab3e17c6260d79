"""Rules out of logs, twice: from what the user said, and from the query alone, as anybody might have guessed.

A model writes each as a JSON list; what cannot be read is counted and the log
set aside. Logs whose feedback holds no rule are dropped (`drop_empty`), as the paper says and its released code does
not. The small world's extractor is a program that reads the same feedback. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/extract_rules.yaml
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from reasoning_pipeline.base.jsonl import lines
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.recipe.stage import Input
from reasoning_pipeline.recipe.work import Known, Work
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.run.speaking import Memory, speaker
from reasoning_pipeline.workflows.user_logs.logs import ReadLogs, load_logs
from reasoning_pipeline.workflows.user_logs.roles import extract
from reasoning_pipeline.workflows.user_logs.rules import RULES_FILE, RuledLog, load_rules, parse_rules
from reasoning_pipeline.workflows.user_logs.settings import PLAYED, Played, Writing

EMPTY = "no rule in the feedback"
"""Why a log is left out whose extractor could be read."""


class Config(Writing, Played):
    publishes: ClassVar[str] = "rules"
    role: ClassVar[str] = "extractor"

    stage: Literal["extract_rules"] = "extract_rules"
    logs: Annotated[str, Input("logs")]
    """Checked logs."""
    before: Annotated[str | None, Input("rules")] = None
    """Logs with rules of an earlier batch, kept as they are; a log that is among them is not read again."""
    extractor: Annotated[str | None, Input("checkpoint")] = None
    """The model that writes them, where `by: model`."""
    drop_empty: bool = True
    """Leave logs out whose feedback holds no rule; off, they are kept and make no pair."""
    max_prompt_tokens: int = Field(12_000, ge=16)
    max_completion_tokens: int = Field(1024, ge=16)

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


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes the logs that are kept, and rules.jsonl with `rules` and `prior` of each."""
    kept = load_rules(context.inputs["before"]) if config.before is not None else []
    known = {one.log.id for one in kept}
    logs = [log for log in load_logs(context.inputs["logs"]) if log.id not in known]
    model = None
    if config.by == "model":
        memory = Memory(context.work / "replies.jsonl")
        model = speaker(context, "extractor", max_prompt_tokens=config.max_prompt_tokens, memory=memory)
    aside: list[dict[str, Any]] = []
    problems: Counter[str] = Counter()
    replies = extract(model, logs, config.decoding(context.seed))
    for log, (rules, prior) in zip(logs, (map(parse_rules, texts) for texts in replies), strict=True):
        problems.update(found.problem for found in (rules, prior) if found.problem is not None)
        if rules.rules or not (config.drop_empty or rules.problem):
            kept.append(RuledLog(log=log, rules=rules.rules, prior=prior.rules))
        else:
            aside.append({"id": log.id, "reason": rules.problem or EMPTY})
    if not kept:
        raise PipelineError(
            f"no log of {len(logs)} holds a rule: {dict(problems)}",
            remedy="look at the feedback, or at the extractor's replies in the work folder",
        )
    output = context.fresh_output()
    ReadLogs(logs=[one.log for one in kept], set_aside=aside).save(output)
    (output / RULES_FILE).write_text(lines(one.as_row() for one in kept), encoding="utf-8")
    return StageOutcome(
        output,
        {
            "logs": len(logs),
            "kept": len(kept),
            "dropped_empty": sum(row["reason"] == EMPTY for row in aside),
            "unreadable": dict(sorted(problems.items())),
            "rules": sum(len(one.rules) for one in kept),
            "prior_rules": sum(len(one.prior) for one in kept),
            "extractor": PLAYED[config.by],
        },
    )
