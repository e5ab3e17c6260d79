"""Preference pairs from logs: the policy rewrites each answer, a judge scores the rewrites, the best becomes `chosen`.

Two kinds of context, `samples` rewrites of each: the user's words, and the rules with the draft. The logged answer is
`rejected`, and must score below (`require_improvement`, ours: the released code does not look). Scores are kept. The
policy and the judge are configured apart; without `judge` the policy judges its own rewrites. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/write_pairs.yaml
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from reasoning_pipeline.base.jsonl import lines, read_rows
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.recipe.stage import Input, ModelRef, StageConfig
from reasoning_pipeline.recipe.work import Known, Work
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.run.speaking import Memory, speaker
from reasoning_pipeline.workflows.user_logs.pairs import PAIRS_FILE, build, questions
from reasoning_pipeline.workflows.user_logs.roles import judge_of
from reasoning_pipeline.workflows.user_logs.rules import load_rules
from reasoning_pipeline.workflows.user_logs.settings import PLAYED, Judged, Judging


class Config(Judged, StageConfig):
    publishes: ClassVar[str] = "pairs"
    generates_with: ClassVar[str | None] = "policy"
    heavy: ClassVar[bool] = False

    stage: Literal["write_pairs"] = "write_pairs"
    policy: ModelRef
    """The base model: what answers, what adapters are for."""
    rules: Annotated[str, Input("rules")]
    """Logs with their rules."""
    before: Annotated[str | None, Input("pairs")] = None
    """Pairs of an earlier batch, kept as they are; their logs are not rewritten again."""
    judging: Judging = Judging(samples=1)
    """How the judge is asked."""
    styles: tuple[Literal["feedback", "rules"], ...] = Field(("feedback", "rules"), min_length=1)
    """Contexts to rewrite from: the user's words, the rules with the draft."""
    samples: int = Field(3, ge=1)
    """Rewrites of each style."""
    temperature: float = Field(1.0, gt=0)
    """Of sampling."""
    top_p: float = Field(0.9, gt=0, le=1)
    """Of the rewrites."""
    require_improvement: bool = True
    """The chosen answer must score above the logged one."""
    max_prompt_tokens: int = Field(12_000, ge=16)
    """A longer prompt ends the step."""
    max_completion_tokens: int = Field(2048, ge=1)
    """Of one answer."""

    def lengths(self) -> tuple[int, int]:
        prompt, completion = super().lengths()
        return prompt, max(completion, self.judging.max_tokens if self.judging.by == "model" else 0)

    @property
    def generators_beside(self) -> tuple[str, ...]:
        return ("judge",) if self.judge is not None and self.judging.by == "model" else ()

    def work(self, known: Known) -> Work | None:
        rules = known.made_by("rules")
        if rules is None:
            return None
        # The judge reads as many answers as are written, and the logged one.
        rewrites = rules.rows // 2 * len(self.styles) * self.samples
        return Work(
            rows=2 * rewrites + rules.rows // 2,
            prompt_limit=self.max_prompt_tokens,
            completion_limit=self.max_completion_tokens,
            generates=True,
        )


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes pairs.jsonl."""
    earlier = read_rows(context.inputs["before"] / PAIRS_FILE) if config.before is not None else []
    known = {row["id"] for row in earlier}
    ruled = [one for one in load_rules(context.inputs["rules"]) if one.log.id not in known]
    memory = Memory(context.work / "replies.jsonl")
    policy = speaker(context, "policy", max_prompt_tokens=config.max_prompt_tokens, memory=memory)
    # All rewrites of all logs at once, then all judgements: a server is never idle in between.
    asked = [questions(one, config.styles) for one in ruled]
    decoding = Decoding(
        temperature=config.temperature, top_p=config.top_p, max_tokens=config.max_completion_tokens, seed=context.seed
    )
    replies = iter(policy.ask([text for texts in asked for text in texts], decoding, n=config.samples))
    rewrites = [[text for _ in texts for text in next(replies)] for texts in asked]
    judge = judge_of(config, context, policy, context.seed)
    answers = [(one, text) for one, texts in zip(ruled, rewrites, strict=True) for text in (*texts, one.log.answer)]
    judged = judge([(one.log.question, one.rules, text, one.log.language) for one, text in answers])
    in_order = iter(judged)
    scores, logged = [], []
    for texts in rewrites:
        scores.append([next(in_order) for _ in texts])
        logged.append(next(in_order))
    pairs, left = build(ruled, rewrites, scores, logged, require_improvement=config.require_improvement)
    if not pairs and not earlier:
        raise PipelineError(
            f"no pair could be made of {len(ruled)} logs: {dict(left)}",
            remedy="look at replies.jsonl in the work folder: does the policy follow the rules, does the judge see it?",
        )
    output = context.fresh_output()
    (output / PAIRS_FILE).write_text(lines([*earlier, *map(asdict, pairs)]), encoding="utf-8")
    return StageOutcome(
        output,
        {
            "logs": len(ruled),
            "pairs": len(earlier) + len(pairs),
            "left_out": dict(sorted(left.items())),
            "chosen_score": sum(pair.chosen_score for pair in pairs) / max(len(pairs), 1),
            "rejected_score": sum(pair.rejected_score or 0 for pair in pairs) / max(len(pairs), 1),
            "score_by_style": _by_style(config, scores),
            "judge": PLAYED[config.judging.by],
            "unscored": sum(score is None for score in judged) / max(len(judged), 1),
            "tokens_generated": policy.tokens,
        },
    )


def _by_style(config: Config, scores: list[list[float | None]]) -> dict[str, float]:
    """Mean score of the rewrites that each context led to."""
    found: dict[str, float] = {}
    for at, style in enumerate(sorted(config.styles)):  # as pairs.questions has them
        own = [score for one in scores for score in one[at * config.samples : (at + 1) * config.samples]]
        if known := [score for score in own if score is not None]:
            found[style] = sum(known) / len(known)
    return found
