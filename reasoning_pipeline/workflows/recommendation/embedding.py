"""Titles and profiles as vectors: by a model's hidden states, or by static vectors of their words; PCA; the item table.

One embedder makes the item table and whatever is compared with it later, so both lie in one space, and a table meets
only what has the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import model_validator
from safetensors.numpy import load_file, save_file

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.base.fingerprint import digest, file_digest, seed_from
from reasoning_pipeline.base.jsonl import read_rows
from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.recipe.stage import Input, StageConfig
from reasoning_pipeline.run.context import StageContext
from reasoning_pipeline.statistics.directions import centroids_of
from reasoning_pipeline.workflows.recommendation.histories import Histories

CLUSTERS = 10
"""Of items, where no profiles say which."""
WORD_VECTOR = 64
MOST_TOKENS = 128
"""Of a title or a profile, where a model reads it."""
ROWS = 64
"""Texts in one pass of a model."""
COMPONENTS_FROM = 20_000
"""Rows that the principal components are computed from, evenly chosen; more change nothing that matters."""


class Embeds(StageConfig):
    """Fields of a stage that turns text into vectors."""

    by: Literal["words", "model"] = "model"
    """Means of a model's last hidden states, or static vectors of words."""
    per_domain: bool = False
    """`words` alone: word vectors of each domain's own, unrelated to the other's."""
    model: Annotated[str | None, Input("checkpoint")] = None
    """A sentence encoder or a language model; read by `by: model`."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.by == "model") != (self.model is not None):
            raise ValueError("`by: model` needs `model`, and `by: words` has none")
        return self

    def embedder(self, context: StageContext) -> dict[str, Any]:
        """What makes the vectors, a model by its files: two steps with one model embed into one space."""
        folder = context.inputs.get("model")
        files = [] if folder is None else sorted([*folder.glob("*.safetensors"), folder / "tokenizer.json"])
        model = digest([[path.name, file_digest(path)] for path in files]) if files else ""
        return {"by": self.by, "per_domain": self.per_domain, "model": model}

    def vectors(
        self, context: StageContext, texts: Sequence[str], domains: Sequence[str], progress: Callable[[int], None]
    ) -> np.ndarray:
        """[texts, width] before PCA, rows of length 1.

        Args:
            domains: Of each text; read where `per_domain`.
            progress: Told how many texts are done; what it raises ends the work.
        """
        if self.by == "words":
            salts = domains if self.per_domain else [""] * len(texts)
            return unit(np.array([_of_words(text, salt) for text, salt in zip(texts, salts, strict=True)]))
        from reasoning_pipeline.models.reading import TextEmbedder

        # Sentence encoders are trained for it (Reimers and Gurevych, arXiv 1908.10084); of others it is usable.
        model = TextEmbedder(context.inputs["model"], pooling="mean", max_tokens=MOST_TOKENS, batch=ROWS)
        return model([text or " " for text in texts], progress)


def _of_words(text: str, salt: str) -> np.ndarray:
    """The mean of the words' vectors: Gaussian, a seed a word, so that titles are near as far as they share words."""
    words = re.findall(r"\w+", text.casefold())[:MOST_TOKENS] or [""]
    return np.mean([_word_vector(word, salt) for word in words], axis=0)


@cache
def _word_vector(word: str, salt: str) -> np.ndarray:
    rng = np.random.default_rng(seed_from(f"word/{salt}/{word}"))
    return rng.standard_normal(WORD_VECTOR).astype(np.float32)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1 (or 0 where there is nothing)."""
    return (rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)).astype(np.float32)


@dataclass(frozen=True)
class ItemTable:
    """A vector of every item of one catalogue, and what puts other texts into the same space."""

    vectors_NX: np.ndarray
    """Of length 1, after PCA."""
    mean_W: np.ndarray
    components_XW: np.ndarray
    embedder: dict[str, Any]
    """As `Embeds` has it."""
    items_digest: str

    @classmethod
    def made(cls, raw_NW: np.ndarray, width: int, embedder: dict[str, Any], items_digest: str) -> ItemTable:
        """Centred and reduced to the `width` first principal components; the most there are where it asks for more."""
        chosen = raw_NW[:: max(1, len(raw_NW) // COMPONENTS_FROM)]
        mean = chosen.mean(axis=0)
        components = np.linalg.svd(chosen - mean, full_matrices=False)[2][:width].astype(np.float32)
        vectors = unit((raw_NW - mean) @ components.T)
        return cls(vectors, mean.astype(np.float32), components, embedder, items_digest)

    def place(self, raw: np.ndarray) -> np.ndarray:
        """Vectors of the same embedder, in the table's space."""
        return unit((raw - self.mean_W) @ self.components_XW.T)

    def save(self, folder: Path) -> None:
        components = np.ascontiguousarray(self.components_XW)
        tensors = {"vectors": self.vectors_NX, "mean": self.mean_W, "components": components}
        save_file(tensors, folder / "table.safetensors")
        write_json(folder / "table.json", {"embedder": self.embedder, "items": self.items_digest})

    @classmethod
    def load(cls, folder: Path) -> ItemTable:
        held = load_file(folder / "table.safetensors")
        about = json.loads((folder / "table.json").read_text(encoding="utf-8"))
        return cls(held["vectors"], held["mean"], held["components"], about["embedder"], about["items"])

    def require_catalogue(self, histories: Histories) -> None:
        """Raises IncompatibleModels where the table is of other items."""
        if self.items_digest != histories.items_digest:
            raise IncompatibleModels(
                f"the item table is of another catalogue ({self.items_digest[:12]}) than the histories "
                f"({histories.items_digest[:12]}, {len(histories.items):,} items)",
                remedy="embed the items of these histories: let both come from one read_histories",
            )

    def require_embedder(self, other: dict[str, Any], whose: str) -> None:
        """Raises IncompatibleModels where something else was embedded by something else."""
        if self.embedder != other:
            raise IncompatibleModels(
                f"{whose} come from another embedder ({_said(other)}) than the item table ({_said(self.embedder)}): "
                "their vectors cannot be compared",
                remedy="make both from one embed_items step",
            )


def _said(embedder: dict[str, Any]) -> str:
    model = f" {embedder['model'][:12]}" if embedder["model"] else ""
    return f"{embedder['by']}{model}{', a space for each domain' if embedder['per_domain'] else ''}"


def items_of(context: StageContext) -> tuple[Histories, ItemTable]:
    """What a stage reads as `histories` and `items`. Raises IncompatibleModels where these are of other items."""
    histories, table = Histories.load(context.inputs["histories"]), ItemTable.load(context.inputs["items"])
    table.require_catalogue(histories)
    return histories, table


def profiles_of(context: StageContext, histories: Histories, table: ItemTable) -> tuple[np.ndarray | None, np.ndarray]:
    """What a stage reads as `profiles`: ([users, X], centroids [K, X]); (None, the items' own) where it reads none.
    Raises IncompatibleModels where profiles are of other users or items."""
    if "profiles" not in context.inputs:
        return None, centroids_of(table.vectors_NX, CLUSTERS)
    folder = context.inputs["profiles"]
    found = load_file(folder / "profiles.safetensors")
    users = [row["user"] for row in read_rows(folder / "profiles.jsonl")]
    if users != [user.user for user in histories.users] or found["profiles"].shape[1] != table.vectors_NX.shape[1]:
        raise IncompatibleModels(
            "the profiles are of other users, or come from another item table, than the histories learned from",
            remedy="let profile_users read the same histories and the same items",
        )
    return found["profiles"], found["centroids"]
