"""How a recipe says who plays a role; roles.py makes them play. Light: recipes are read with it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Player = Literal["model", "small_world"]


class Judging(BaseModel):
    """How a judge is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Player = "model"
    """A model, or the small world's program in its place."""
    samples: int = Field(3, ge=1)
    """Scores of one answer, averaged. One is drawn greedily."""
    max_tokens: int = Field(1024, ge=8)
    """Of one text, or of one reply."""


class Embedding(BaseModel):
    """How texts become vectors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Literal["model", "words"] = "model"
    """`words` is a program: a random direction for each word, summed."""
    pooling: Literal["last", "mean"] = "last"
    """Which of the model's states stand for a text: that of its last token, or the mean."""
    max_tokens: int = Field(8192, ge=8)
    """Of one text, or of one reply."""
