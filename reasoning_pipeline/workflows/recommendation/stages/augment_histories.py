"""Puts plausible items of the other domain into the part of each history that is learned from (LLM-EDT's augmenter).

Representatives of what a user took in one domain go to a generator that names items of the other; what matches the
catalogue and is similar enough to something real is inserted behind it. Generators: `llm` asks a model of the run,
`retrieval` takes the nearest titles and `table` reads what a small world knows: both are stand-ins for a model.
No target is read, asked about or inserted, and no label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/augment_histories.yaml
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from reasoning_pipeline.base.jsonl import lines, read_rows
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.workflows.recommendation import augmenting
from reasoning_pipeline.workflows.recommendation.embedding import items_of
from reasoning_pipeline.workflows.recommendation.histories import Histories
from reasoning_pipeline.workflows.recommendation.settings import AsksWriter, OfItems

LEAST_MATCHED = 0.02
"""Of the generator's answers; with fewer that name an item of the catalogue it does not do what it is asked."""


class Config(OfItems, AsksWriter):
    publishes: ClassVar[str] = "histories"

    stage: Literal["augment_histories"] = "augment_histories"
    proposes: Literal["llm", "retrieval", "table"] = "llm"
    """Who names items: a language model, or one of two stand-ins."""
    representatives: int = Field(5, ge=1)
    """Of a user's items in one domain. Ours: the paper's figure shows K and does not say how many."""
    proposals: int = Field(5, ge=1, le=20)
    """Asked for in each direction. Ours."""
    least_match: float = Field(0.4, ge=0, le=1)
    """Cosine of rare words above which a written title is taken for one of the catalogue. Ours."""
    quantile: float = Field(0.7, ge=0, lt=1)
    """Share of the proposals, the least similar, that the filter removes; 0 keeps all. Ours."""

    @model_validator(mode="after")
    def _writer(self) -> Self:
        if (self.proposes == "llm") != (self.writer is not None):
            raise ValueError("`proposes: llm` needs `writer`, and the stand-ins have none")
        return self


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes the histories with their insertions, and every proposal with what became of it."""
    histories, table = items_of(context)
    metrics = context.start_metrics(total_steps=None)
    asked = augmenting.directions(histories, table.vectors_NX, config.representatives, context.seed)
    counted: dict[str, Any] = {}
    if config.proposes == "llm":
        answers, counted = written(config, context, asked, histories)
    elif config.proposes == "retrieval":
        answers = augmenting.retrieved(asked, histories, table.vectors_NX, config.proposals)
    else:
        path = context.inputs["histories"] / "knowledge.jsonl"
        if not path.is_file():
            raise PipelineError("these histories know nothing of what goes together", remedy="`table` is for the world")
        knows = {row["item"]: row["goes_with"] for row in read_rows(path)}
        named = [dict.fromkeys(other for item in one.given for other in knows[item]) for one in asked]
        answers = augmenting.titled([list(items)[: config.proposals] for items in named], histories)
    found = augmenting.proposals(asked, answers, histories, table.vectors_NX)
    least = augmenting.threshold(found, config.quantile)
    kept = [one for one in found if one.similarity >= least]
    augmented = augmenting.inserted(histories, kept)
    metrics.close()

    output = context.fresh_output()
    augmented.save(output)
    rows = ({**vars(one), "user": histories.users[one.user].user, "kept": one.similarity >= least} for one in found)
    (output / "proposals.jsonl").write_text(lines(rows), encoding="utf-8")
    result = {"asked": len(asked), **counted, "proposals": len(found), "kept": len(kept)}
    result["threshold"] = float(least) if config.quantile > 0 else None
    return StageOutcome(output, result | augmented.figures() | {"seconds": round(metrics.seconds, 2)})


def written(
    config: Config, context: StageContext, asked: list[augmenting.Direction], histories: Histories
) -> tuple[augmenting.Answers, dict[str, Any]]:
    """A language model's proposals, matched to the catalogue, and counts of what could not be used.

    Raises:
        PipelineError: Next to nothing that it wrote names an item of the catalogue.
    """
    prompts = [augmenting.prompt(one, histories, config.proposals, config.domains) for one in asked]
    schema = augmenting.schema(config.proposals)
    texts = [augmenting.parsed(answer) for answer in config.writers_answers(context, prompts, schema)]
    catalogue = augmenting.Catalogue(histories, config.least_match)
    answers: augmenting.Answers = []
    for one, proposed in zip(asked, texts, strict=True):
        matched = catalogue.matches(proposed, one.wanted)
        answers.append([(item, text) for item, text in zip(matched, proposed, strict=True) if item is not None])
    useful, total = sum(map(bool, answers)), len(answers)
    if useful < LEAST_MATCHED * total or not useful:
        example = next((text for text in texts if text), ["nothing that is a list"])[0]
        raise PipelineError(
            f"the generator named an item of the catalogue in {useful:,} of {total:,} answers; one says {example!r}",
            remedy="use a model that follows instructions, or lower least_match",
        )
    counts = {"answers_unparsed": sum(not text for text in texts), "proposals_written": sum(map(len, texts))}
    return answers, counts | {"proposals_unmatched": counts["proposals_written"] - sum(map(len, answers))}
