"""Settings that more than one stage of this workflow reads, and who plays a role (roles.py makes them play). Light:
every recipe is read with it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from reasoning_pipeline.recipe.fields import Lora, Optimization
from reasoning_pipeline.recipe.stage import Input, ModelRef, StageConfig
from reasoning_pipeline.recipe.work import Known, Work
from reasoning_pipeline.records import Decoding

WIN_RATE, GAP = 0.53, 0.45
"""The paper's thresholds."""
Player = Literal["model", "small_world"]
PLAYED: dict[Player, str] = {"model": "a model", "small_world": "a program, in the place of a model"}
"""As records say who played."""


class Played(StageConfig):
    """Of a stage in which a model plays a role, or the small world's program in its place."""

    heavy: ClassVar[bool] = False
    role: ClassVar[str]
    """The field that names the model."""

    by: Player = "model"
    """A model, or the small world's program in its place."""

    @property
    def generator(self) -> str | None:
        return self.role if self.by == "model" else None

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if (self.by == "model") != (getattr(self, self.role) is not None):
            raise ValueError(f"`by: model` needs `{self.role}`, and only it does")
        return self


class Judging(BaseModel):
    """How a judge is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Player = "model"
    """A model, or the small world's program in its place."""
    samples: int = Field(3, ge=1)
    """Scores of one answer, averaged. One is drawn greedily."""
    max_tokens: int = Field(1024, ge=8)
    """Of one reply."""


class Judged(BaseModel):
    """Who judges answers."""

    judge: Annotated[str | None, Input("checkpoint")] = None
    """The model that judges, where `judging.by: model`; the policy where it is not given."""
    judging: Judging = Judging()
    """How the judge is asked."""


class Embedding(BaseModel):
    """How texts become vectors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Literal["model", "words"] = "model"
    """`words` is a program: a random direction for each word, summed."""
    pooling: Literal["last", "mean"] = "last"
    """Which of the model's states stand for a text: that of its last token, or the mean."""
    max_tokens: int = Field(8192, ge=8)
    """Of one text."""


class Writing(BaseModel):
    """How the policy answers."""

    temperature: float = Field(0.1, ge=0)
    """Of sampling."""
    max_prompt_tokens: int = Field(8192, ge=1)
    """A longer prompt ends the step."""
    max_completion_tokens: int = Field(2048, ge=1)
    """Of one answer."""

    def decoding(self, seed: int) -> Decoding:
        return Decoding(temperature=self.temperature, max_tokens=self.max_completion_tokens, seed=seed)


class OfClusters(StageConfig):
    """What the three stages read that make and choose modules."""

    heavy: ClassVar[bool] = False

    policy: ModelRef
    """The base model: what answers, what adapters are for."""
    rules: Annotated[str, Input("rules")]
    """Logs with their rules."""
    clusters: Annotated[str, Input("clusters")]
    """Which log is in which cluster."""
    gap: Annotated[str | None, Input("cognitive_gap")] = None
    """The cognitive gap of each cluster; without it every gap counts as low. A high one starts no expert."""
    before: Annotated[str | None, Input("system")] = None
    """A published system that the clusters continue: its modules stay where they are not clearly beaten (online.py)."""
    gap_threshold: float = Field(GAP, ge=0, le=1)
    """A gap above it is high."""


class AdapterTraining(OfClusters, Optimization):
    """The paper's settings of both adapters, as its released code has them."""

    learning_rate: float = Field(5e-4, gt=0)
    """At its highest."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    final_learning_rate_ratio: float = Field(0.0, ge=0, le=1)
    weight_decay: float = Field(1e-4, ge=0)
    adam_beta2: float = Field(0.98, ge=0, lt=1)
    epochs: float | None = Field(8, ge=1)
    """Whole ones: the adapter of each is kept and looked at."""
    lora: Lora | None = Lora(rank=64, alpha=128, dropout=0.05)
    rows_per_step: int = Field(32, ge=1)
    """Global batch; a cluster with fewer rows is one batch."""
    max_length: int = Field(12_000, ge=16)
    """Tokens of prompt and completion; what is longer is cut at its end."""
    train_share: float = Field(0.8, gt=0, lt=1)
    """Of a cluster's logs; the rest is held out."""
    split_seed: int = 42
    """Which logs of a cluster are held out."""
    least_logs: int = Field(10, ge=3)
    """A cluster with fewer gets no adapter: nothing could be said about it."""

    def training(self, known: Known, *, sequences: int = 1, **more: Any) -> Work | None:
        """The work of all clusters together, of which each row has so many sequences."""
        rules = known.made_by("rules")
        if rules is None:
            return None
        steps = (self.epochs or 1) * self.train_share * (rules.rows // 2) / self.rows_per_step
        rows = sequences * self.rows_per_step
        return Work(rows=rows, steps=steps, trains=True, batch="rows_per_step", lora=self.lora, **more)
