"""Reads two domains' histories from files, checks them, and publishes catalogue and users in one form.

Titled items with id lists, JSONL with times, RecBole's atomic files, or a small world that is made here. Core filters
drop rare items and short users until none is left; leave-one-out or held-out users decide what is learned from. No
label is spent and nothing is trained.
Try it: python -m reasoning_pipeline run recipes/smoke/read_histories.yaml
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from reasoning_pipeline.base.jsonl import lines
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.recipe.stage import File, StageConfig
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.workflows.recommendation import reading
from reasoning_pipeline.workflows.recommendation.world import World, make


class Config(StageConfig):
    publishes: ClassVar[str] = "histories"
    heavy: ClassVar[bool] = False

    stage: Literal["read_histories"] = "read_histories"
    source: Literal["world", "titled", "timed", "recbole"]
    """Which kind of files, or a small world that is made here."""
    files: Annotated[dict[str, str], File()] = Field({})
    """What is read, by the names that `source` has for it (reading.py); `data.path` of the recipe fills it in."""
    world: World = World()
    """Of the source `world`."""
    split: Literal["leave_one_out", "held_out"] = "leave_one_out"
    """What is held back: the last two items of every user, or the users that the files name."""
    single_domain: bool = False
    """`titled` alone: learn from users of one domain too."""
    user_core: int = Field(0, ge=0)
    """Users with fewer events are dropped; 0 is off."""
    item_core: int = Field(0, ge=0)
    """0 keeps every item of the catalogue as a candidate."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.split == "held_out" and self.source in ("world", "recbole"):
            raise ValueError(f"the source {self.source!r} names no users to hold out")
        return self


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes `items.jsonl` and `histories.jsonl`; of the small world also what its language model would know."""
    knowledge: dict[int, list[int]] = {}
    if config.source == "world":
        found, knowledge = make(config.world)
    elif not config.files:
        raise DataError(
            f"source {config.source!r}: no file is named",
            remedy="say where the folder is: `--set data.path=FOLDER`, or name the files in `files`",
        )
    elif config.source == "titled":
        found = reading.read_titled(config.files, split=config.split, single_domain=config.single_domain)
    elif config.source == "timed":
        found = reading.read_timed(config.files, split=config.split)
    else:
        found = reading.read_recbole(config.files)
    histories = reading.finished(found, user_core=config.user_core, item_core=config.item_core)
    for reason, count in found.set_aside.items():
        print(f"set aside: {count:,} {reason}")
    output = context.fresh_output()
    histories.save(output)
    if knowledge:
        if len(histories.items) != len(knowledge):
            raise DataError("the small world keeps all its items", remedy="leave item_core at 0")
        rows = ({"item": item, "goes_with": other} for item, other in knowledge.items())
        (output / "knowledge.jsonl").write_text(lines(rows), encoding="utf-8")
    return StageOutcome(output, histories.figures() | {"set_aside": dict(found.set_aside)})
