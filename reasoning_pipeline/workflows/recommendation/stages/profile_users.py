"""Sums up what each user likes, by cluster and domain, merges the summaries into one profile, and embeds it.

Groups come from k-means over the items' vectors; only what may be learned from is read. `llm` asks a model of the run
for every summary and every merge; `words` takes the words that a group's titles share, a stand-in. The profile is
embedded by the item table's own embedder, so that both lie in one space. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/profile_users.yaml
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator
from safetensors.numpy import save_file

from reasoning_pipeline.base.jsonl import lines
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.statistics.directions import centroids_of
from reasoning_pipeline.workflows.recommendation import profiling
from reasoning_pipeline.workflows.recommendation.embedding import Embeds, items_of
from reasoning_pipeline.workflows.recommendation.settings import AsksWriter, OfItems


class Config(OfItems, Embeds, AsksWriter):
    publishes: ClassVar[str] = "profiles"

    stage: Literal["profile_users"] = "profile_users"
    summariser: Literal["llm", "words"] = "llm"
    """A language model, or the words that titles share: a stand-in."""
    clusters: int = Field(10, ge=1)
    """As in LLM4CDSR; LLM-EDT's number is not known."""
    groups: int = Field(5, ge=1)
    """The largest so many of a user's groups are summed up. Ours."""
    max_prompt_tokens: int = Field(1536, ge=1)
    """A server is prepared for so many."""
    max_completion_tokens: int = Field(160, ge=1)
    """Of one answer."""

    @model_validator(mode="after")
    def _writer(self) -> Self:
        if (self.summariser == "llm") != (self.writer is not None):
            raise ValueError("`summariser: llm` needs `writer`, and `words` has none")
        return self


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes `profiles.jsonl` (in the histories' order), their vectors, and the clusters' centroids."""
    histories, table = items_of(context)
    table.require_embedder(config.embedder(context), "these profiles")
    metrics = context.start_metrics(total_steps=None)
    centroids = centroids_of(table.vectors_NX, config.clusters)
    groups = [
        profiling.groups_of(user.learned, histories.items, table.vectors_NX, centroids, config.groups)
        for user in histories.users
    ]
    summaries, profiles = _texts(config, context, groups)
    raw = config.vectors(context, profiles, [""] * len(profiles), lambda _: context.stop_if_asked())
    metrics.close()

    output = context.fresh_output()
    rows = (
        {
            "user": user.user,
            "profile": profile,
            "groups": [{"domain": g.domain, "summary": s} for g, s in zip(own, said, strict=True)],
        }
        for user, own, said, profile in zip(histories.users, groups, summaries, profiles, strict=True)
    )
    (output / "profiles.jsonl").write_text(lines(rows), encoding="utf-8")
    save_file({"profiles": table.place(raw), "centroids": centroids}, output / "profiles.safetensors")
    result = {"users": len(profiles), "groups": sum(map(len, groups)), "clusters": len(centroids)}
    return StageOutcome(output, result | {"empty": sum(not p for p in profiles), "seconds": round(metrics.seconds, 2)})


def _texts(
    config: Config, context: StageContext, groups: list[list[profiling.Group]]
) -> tuple[list[list[str]], list[str]]:
    """(summaries of each user's groups, each user's profile)."""
    if config.summariser == "words":
        summaries = [[profiling.summed_up(group) for group in own] for own in groups]
        return summaries, list(map(profiling.merged, groups, summaries))
    flat = [profiling.group_prompt(group, config.domains) for own in groups for group in own]
    answers = iter(config.writers_answers(context, flat))
    summaries = [[profiling.bounded(next(answers), profiling.GROUP_WORDS) for _ in own] for own in groups]
    merges = [profiling.merge_prompt(own, said, config.domains) for own, said in zip(groups, summaries, strict=True)]
    profiles = config.writers_answers(context, merges)
    return summaries, [profiling.bounded(answer, profiling.OVERALL_WORDS) for answer in profiles]
