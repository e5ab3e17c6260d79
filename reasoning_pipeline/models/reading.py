"""What a model makes of texts without writing any: a vector for each, or how sure it is of yes. Imports torch."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.models.loading import load_encoder, load_model, load_tokenizer

Score = Callable[[Sequence[Sequence[int]]], list[list[float]]]
Pooling = Literal["last", "mean"]
"""`last` is the end of the text, as Qwen3-Embedding is trained; `mean` is over all tokens, as MiniLM is."""


class TextEmbedder:
    """A model read once and asked as often as one likes, by one thread at a time.

    Args:
        max_tokens: A longer text is cut at its end.
    """

    def __init__(
        self,
        folder: Path,
        *,
        pooling: Pooling,
        max_tokens: int,
        device: str = "cpu",
        dtype: str = "float32",
        batch: int = 32,
    ) -> None:
        self.pooling, self.max_tokens, self.device, self.batch = pooling, max_tokens, device, batch
        self.tokenizer = load_tokenizer(folder)
        # BERT counts positions from the left, padding too: beside a longer text, a text would be read further right.
        self.tokenizer.padding_side = "left" if pooling == "last" else "right"
        model: Any = load_encoder(folder, dtype=dtype)
        self.model: Any = model.to(device)
        self._alone = threading.Lock()

    def __call__(self, texts: Sequence[str], progress: Callable[[int], None] = lambda done: None) -> np.ndarray:
        """[N, D], rows of length 1. Texts of a length are read together: few tokens are computed for nothing.

        Args:
            progress: Told how many texts are done; what it raises ends the work.
        """
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        if not order:
            return np.zeros((0, self.model.config.hidden_size), dtype=np.float32)
        found = []
        with self._alone, torch.no_grad():
            for start in range(0, len(order), self.batch):
                chosen = order[start : start + self.batch]
                found.append(self._part([texts[index] for index in chosen]))
                progress(start + len(chosen))
        return np.concatenate(found)[np.argsort(order)]

    def _part(self, texts: Sequence[str]) -> np.ndarray:
        read = _read(self.tokenizer, texts, self.max_tokens, self.device)
        hidden_BLD = self.model(**read).last_hidden_state.float()
        if self.pooling == "last":
            vectors_BD = hidden_BLD[:, -1]
        else:
            mask_BL1 = read["attention_mask"][..., None].float()
            vectors_BD = (hidden_BLD * mask_BL1).sum(1) / mask_BL1.sum(1).clamp(min=1)
        return np.asarray(torch.nn.functional.normalize(vectors_BD, dim=-1).cpu().numpy())


def probability_of_yes(
    folder: Path,
    prompts: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    score: Score | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    batch: int = 16,
) -> list[float]:
    """Softmax over "yes" and "no" as the next token after each prompt.

    Args:
        prompts: Token ids. The end of a prompt is the question; one that is too long is cut in front.
        score: A server's (RolloutClient.score); without it the model is read into this process.

    Raises:
        IncompatibleModels: The tokenizer has no single token for one of them.
    """
    tokenizer = load_tokenizer(folder)
    yes, no = (tokenizer.encode(word, add_special_tokens=False) for word in ("yes", "no"))
    if len(yes) != 1 or len(no) != 1 or yes == no:
        raise IncompatibleModels(
            f"{folder}: its tokenizer has no single token for yes and for no", remedy="name a reranker that says them"
        )
    cut = [list(ids[-max_tokens:]) for ids in prompts]
    if score is not None:
        found = score([[*ids, *said] for ids in cut for said in (yes, no)])
        return [1 / (1 + math.exp(min(no[-1] - yes[-1], 700))) for yes, no in zip(found[::2], found[1::2], strict=True)]
    model: Any = load_model(folder, dtype=dtype)
    model.to(device).eval()
    sure: list[float] = []
    with torch.no_grad():
        for start in range(0, len(cut), batch):
            part = {"input_ids": cut[start : start + batch]}
            read = tokenizer.pad(part, padding=True, return_tensors="pt").to(device)
            logits_BV = model(**read, logits_to_keep=1).logits[:, -1].float()
            sure += torch.sigmoid(logits_BV[:, yes[0]] - logits_BV[:, no[0]]).tolist()
    return sure


def _read(tokenizer: Any, texts: Sequence[str], max_tokens: int, device: str) -> Any:
    tokenizer.truncation_side = "right"
    read = tokenizer(
        list(texts), padding=True, truncation=True, max_length=max_tokens, return_tensors="pt", add_special_tokens=True
    )
    read.pop("token_type_ids", None)
    return read.to(device)
