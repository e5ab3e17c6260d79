"""Settings that several files read, and what a published recommender says of itself. No torch, no numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from reasoning_pipeline.recipe.stage import Input, StageConfig
from reasoning_pipeline.records import Decoding

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext

ARCHITECTURE = "CrossDomainRecommender"
Sees = Literal["text+id", "text", "id"]
Ranking = Literal["uniform", "popularity", "full"]
Part = Literal["valid", "test"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OfItems(StageConfig):
    """Fields of a stage that reads histories and vectors of their items."""

    heavy: ClassVar[bool] = False

    histories: Annotated[str, Input("histories")]
    """What is read, or learned from: users and their catalogue, augmented or not."""
    items: Annotated[str, Input("item_table")]
    """Vectors of the same catalogue."""


class AsksWriter(StageConfig):
    """Fields of a stage whose texts a language model writes, or a stand-in."""

    writer: Annotated[str | None, Input("checkpoint")] = None
    """The language model that `llm` asks."""
    domains: dict[str, str] = Field({})
    """What the domains are called in prompts."""
    temperature: float = Field(0.5, gt=0)
    """Of the language model."""
    max_prompt_tokens: int = Field(768, ge=1)
    """A server is prepared for so many."""
    max_completion_tokens: int = Field(256, ge=1)
    """Of one answer."""

    @property
    def generator(self) -> str | None:
        return None if self.writer is None else "writer"

    def lengths(self) -> tuple[int, int]:
        return (self.max_prompt_tokens, self.max_completion_tokens) if self.writer else (0, 0)

    def writers_answers(self, context: StageContext, prompts: Sequence[str], schema: str | None = None) -> list[str]:
        """One a prompt. Equal prompts are asked once, and what a killed attempt left on the disk is not asked again."""
        from reasoning_pipeline.run.speaking import Memory, speaker

        memory = Memory(context.work / "replies.jsonl")
        model = speaker(context, "writer", max_prompt_tokens=self.max_prompt_tokens, memory=memory)
        decoding = Decoding(temperature=self.temperature, max_tokens=self.max_completion_tokens, seed=context.seed)
        return [replies[0] for replies in model.ask(prompts, decoding, schema=schema)]


class Alignment(Strict):
    weight: float = Field(0.5, ge=0)
    """The released value for Food-Kitchen (0.7 and 1.0 for the other pairs)."""
    tau: float = Field(0.1, gt=0)
    """Ours. With the released 1.0 and vectors of length 1 the targets are almost uniform."""
    normalise: bool = True
    """Vectors of length 1 before they are compared."""


class Training(StageConfig):
    """Fields of both phases."""

    heavy: ClassVar[bool] = False
    metric_titles: ClassVar[dict[str, str]] = {"validation_ndcg": "NDCG@10 on validation targets, uniform negatives"}

    profiles: Annotated[str | None, Input("profiles")] = None
    """Of the same users, to be aligned with; without them there is no alignment. Phase 2 has it as released."""
    learning_rate: float = Field(1e-3, gt=0)
    """Adam's, constant."""
    batch: int = Field(256, ge=2)
    """Users of one optimizer step."""
    epochs: int = Field(40, ge=0)
    """At most; 0 leaves everything as it begins."""
    patience: int = Field(4, ge=1)
    """Epochs without a better validation before training ends."""
    clip: float = Field(1.0, gt=0)
    """Longest gradient, L2 over all weights."""
    align: Alignment = Alignment()
    """Read where profiles are given."""
    validation_users: int = Field(2000, ge=1)
    """At most so many are asked after every epoch."""


class Size(Strict):
    """Of the backbone."""

    width: int = Field(64, ge=4)
    """Of an item's vector and of the states."""
    blocks: int = Field(2, ge=1)
    """Of attention and feed-forward."""
    heads: int = Field(2, ge=1)
    """Of attention."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Of what is trained, while it is trained."""
    max_length: int = Field(50, ge=2)
    """The last so many items of a history are read."""


class Rankings(Strict):
    """How recommenders are ranked."""

    suites: tuple[Ranking, ...] = Field(("uniform", "popularity", "full"), min_length=1)
    """Rankings to make."""
    part: Part = "test"
    """Which targets are asked for; `valid` while settings are being chosen."""
    negatives: int = Field(100, ge=1)
    """Items of its domain that the target stands among."""
    k: int = Field(10, ge=1)
    """What counts as right: the target among the first k."""
    shown: int = Field(6, ge=0)
    """Users whose first ten stand on the page."""


class About(Strict):
    """config.json of a published recommender."""

    architectures: tuple[str, ...] = (ARCHITECTURE,)
    kind: Literal["popularity", "title_cosine", "sasrec"]
    sees: str = ""
    size: Size | None = None
    causal: bool = True
    adapter: int | None = None
    """Inner width of phase 2's MLPs; None where phase 2 has not been."""
