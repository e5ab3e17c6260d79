"""Embeds every item's title once and publishes the table that all later stages share, after PCA.

By the mean hidden state of a model (a sentence encoder, or any language model of the registry), or by static vectors of
words where seconds matter. The table names its embedder; what comes from another is refused. The titles alone are read,
and no label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/embed_items.yaml
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from reasoning_pipeline.recipe.stage import Input
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.workflows.recommendation.embedding import Embeds, ItemTable
from reasoning_pipeline.workflows.recommendation.histories import Histories


class Config(Embeds):
    publishes: ClassVar[str] = "item_table"
    heavy: ClassVar[bool] = False

    stage: Literal["embed_items"] = "embed_items"
    histories: Annotated[str, Input("histories")]
    """Whose catalogue is embedded."""
    width: int = Field(128, ge=2)
    """Principal components kept; the released code keeps 1,024 of a hosted embedder's 1,536."""


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes `table.safetensors`. Minutes for 36,000 titles with a sentence encoder; a killed step starts over."""
    histories = Histories.load(context.inputs["histories"])
    metrics = context.start_metrics(total_steps=len(histories.items))

    def progress(done: int) -> None:
        context.stop_if_asked()
        metrics.write(done)

    titles, domains = [item.title for item in histories.items], [item.domain for item in histories.items]
    raw = config.vectors(context, titles, domains, progress)
    metrics.close()
    table = ItemTable.made(raw, config.width, config.embedder(context), histories.items_digest)
    output = context.fresh_output()
    table.save(output)
    found = {"items": len(titles), "width": table.vectors_NX.shape[1], "seconds": round(metrics.seconds, 2)}
    return StageOutcome(output, found)
