"""Titles and profiles as vectors: by a model's hidden states, or by static vectors of their words; PCA; the item table.

One `Embedder` makes the item table and whatever is compared with it later, so both lie in one space; `identity` says
which it was, and a table meets only what has the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.base.fingerprint import seed_from
from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.workflows.recommendation.histories import Histories

WORD_VECTOR = 64
MOST_TOKENS = 128
"""Of a title or a profile, where a model reads it."""
ROWS = 64
"""Texts in one pass of a model."""
COMPONENTS_FROM = 20_000
"""Rows that the principal components are computed from, evenly chosen; more change nothing that matters."""


@dataclass(frozen=True, kw_only=True)
class Embedder:
    """How text becomes a vector before PCA.

    Example:
        Embedder(by="model", per_domain=False, model="9f2c01d4…")
    """

    by: Literal["words", "model"]
    per_domain: bool = False
    """`words` alone: each domain has word vectors of its own, so that nearness across domains means nothing."""
    model: str = ""
    """Digest of the model's files."""

    def vectors(
        self,
        texts: Sequence[str],
        domains: Sequence[str],
        folder: Path | None,
        progress: Callable[[int], None] = lambda done: None,
    ) -> np.ndarray:
        """[texts, width], rows of length 1.

        Args:
            domains: Of each text; read where `per_domain`.
            folder: The model's.
            progress: Told how many texts are done; what it raises ends the work.
        """
        if self.by == "words":
            rows = [
                _of_words(text, domain if self.per_domain else "") for text, domain in zip(texts, domains, strict=True)
            ]
            return unit(np.array(rows))
        assert folder is not None
        return unit(_of_states(texts, folder, progress))


def _of_words(text: str, salt: str) -> np.ndarray:
    """The mean of the words' vectors: Gaussian, a seed a word, so that titles are near as far as they share words."""
    words = re.findall(r"\w+", text.casefold())[:MOST_TOKENS] or [""]
    return np.mean([_word_vector(word, salt) for word in words], axis=0)


_WORDS: dict[tuple[str, str], np.ndarray] = {}


def _word_vector(word: str, salt: str) -> np.ndarray:
    if (word, salt) not in _WORDS:
        rng = np.random.default_rng(seed_from(f"word/{salt}/{word}"))
        _WORDS[word, salt] = rng.standard_normal(WORD_VECTOR).astype(np.float32)
    return _WORDS[word, salt]


def _of_states(texts: Sequence[str], folder: Path, progress: Callable[[int], None]) -> np.ndarray:
    """Mean of a model's last hidden states over a text's tokens: what sentence encoders are trained for (Reimers and
    Gurevych, arXiv 1908.10084), and a usable vector of language models."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="right")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    # Texts of a length together: no token is computed for nothing.
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    found: list[np.ndarray | None] = [None] * len(texts)
    with torch.inference_mode():
        for start in range(0, len(order), ROWS):
            chosen = order[start : start + ROWS]
            batch = tokenizer(
                [texts[index] or " " for index in chosen],
                padding=True,
                truncation=True,
                max_length=MOST_TOKENS,
                return_tensors="pt",
                return_token_type_ids=False,
            )
            states_BLD, mask_BL1 = model(**batch).last_hidden_state, batch["attention_mask"][..., None]
            means_BD = (states_BLD * mask_BL1).sum(1) / mask_BL1.sum(1).clamp(min=1)
            for index, row in zip(chosen, means_BD.numpy(), strict=True):
                found[index] = row
            progress(start + len(chosen))
    return np.stack([row for row in found if row is not None])


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1 (or 0 where there is nothing)."""
    return (rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class ItemTable:
    """A vector of every item of one catalogue, and what puts other texts into the same space."""

    vectors_NX: np.ndarray
    """Of length 1, after PCA."""
    mean_W: np.ndarray
    components_XW: np.ndarray
    embedder: Embedder
    items_digest: str

    @classmethod
    def made(cls, raw_NW: np.ndarray, width: int, embedder: Embedder, items_digest: str) -> ItemTable:
        """Centred and reduced to the `width` first principal components; the most there are where it asks for more."""
        chosen = raw_NW[:: max(1, len(raw_NW) // COMPONENTS_FROM)]
        mean = chosen.mean(axis=0)
        _, _, components = np.linalg.svd(chosen - mean, full_matrices=False)
        components = components[:width].astype(np.float32)
        return cls(
            vectors_NX=unit((raw_NW - mean) @ components.T),
            mean_W=mean.astype(np.float32),
            components_XW=components,
            embedder=embedder,
            items_digest=items_digest,
        )

    def place(self, raw: np.ndarray) -> np.ndarray:
        """Vectors of the same embedder, in the table's space."""
        return unit((raw - self.mean_W) @ self.components_XW.T)

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        tensors = {"vectors": self.vectors_NX, "mean": self.mean_W, "components": self.components_XW}
        save_file(
            {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, folder / "table.safetensors"
        )
        write_json(folder / "table.json", {"embedder": asdict(self.embedder), "items": self.items_digest})

    @classmethod
    def load(cls, folder: Path) -> ItemTable:
        from safetensors.numpy import load_file

        tensors = load_file(folder / "table.safetensors")
        about: dict[str, Any] = json.loads((folder / "table.json").read_text(encoding="utf-8"))
        return cls(
            vectors_NX=tensors["vectors"],
            mean_W=tensors["mean"],
            components_XW=tensors["components"],
            embedder=Embedder(**about["embedder"]),
            items_digest=about["items"],
        )

    def require_catalogue(self, histories: Histories) -> None:
        """Raises IncompatibleModels where the table is of other items."""
        if self.items_digest != histories.items_digest:
            raise IncompatibleModels(
                f"the item table is of another catalogue ({self.items_digest[:12]}) than the histories "
                f"({histories.items_digest[:12]}, {len(histories.items):,} items)",
                remedy="embed the items of these histories: let both come from one read_histories",
            )

    def require_embedder(self, other: Embedder, whose: str) -> None:
        """Raises IncompatibleModels where something else was embedded by something else."""
        if self.embedder != other:
            raise IncompatibleModels(
                f"{whose} come from another embedder ({_said(other)}) than the item table ({_said(self.embedder)}): "
                "their vectors cannot be compared",
                remedy="make both from one embed_items step",
            )


def _said(embedder: Embedder) -> str:
    model = f" {embedder.model[:12]}" if embedder.model else ""
    return f"{embedder.by}{model}{', a space for each domain' if embedder.per_domain else ''}"
