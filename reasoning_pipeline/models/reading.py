"""What a model makes of texts without writing any: a vector for each, or how sure it is of yes. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.models.loading import load_model, load_tokenizer

Pooling = Literal["last", "mean"]
"""`last` is the end of the text, as Qwen3-Embedding is trained; `mean` is over all tokens, as MiniLM is."""


def embed(
    folder: Path,
    texts: Sequence[str],
    *,
    pooling: Pooling,
    max_tokens: int,
    device: str = "cpu",
    dtype: str = "float32",
    batch: int = 32,
) -> np.ndarray:
    """[N, D], rows of length 1. A text of more than `max_tokens` tokens is cut at its end."""
    from transformers import AutoModel

    tokenizer = load_tokenizer(folder)
    model: Any = AutoModel.from_pretrained(
        folder, dtype=getattr(torch, dtype), use_safetensors=True, trust_remote_code=False, local_files_only=True
    )
    model.to(device).eval()
    found = []
    with torch.no_grad():
        for start in range(0, len(texts), batch):
            read = _read(tokenizer, texts[start : start + batch], max_tokens, device)
            hidden_BLD = model(**read).last_hidden_state.float()
            if pooling == "last":  # rows are padded on the left
                vectors_BD = hidden_BLD[:, -1]
            else:
                mask_BL1 = read["attention_mask"][..., None].float()
                vectors_BD = (hidden_BLD * mask_BL1).sum(1) / mask_BL1.sum(1)
            found.append(torch.nn.functional.normalize(vectors_BD, dim=-1).cpu().numpy())
    return np.concatenate(found) if found else np.zeros((0, model.config.hidden_size), dtype=np.float32)


def probability_of_yes(
    folder: Path,
    prompts: Sequence[str],
    *,
    max_tokens: int,
    device: str = "cpu",
    dtype: str = "float32",
    batch: int = 16,
) -> list[float]:
    """Softmax over "yes" and "no" as the next token after each rendered prompt.

    Raises IncompatibleModels where the tokenizer has no single token for one of them.
    """
    tokenizer = load_tokenizer(folder)
    yes, no = (tokenizer.encode(word, add_special_tokens=False) for word in ("yes", "no"))
    if len(yes) != 1 or len(no) != 1 or yes == no:
        raise IncompatibleModels(
            f"{folder}: its tokenizer has no single token for yes and for no", remedy="name a reranker that says them"
        )
    model: Any = load_model(folder, dtype=dtype)
    model.to(device).eval()
    found: list[float] = []
    with torch.no_grad():
        for start in range(0, len(prompts), batch):
            # The end of a prompt is the question; what is cut is cut in front.
            read = _read(tokenizer, prompts[start : start + batch], max_tokens, device, side="left")
            logits_BV = model(**read, logits_to_keep=1).logits[:, -1].float()
            found += torch.sigmoid(logits_BV[:, yes[0]] - logits_BV[:, no[0]]).tolist()
    return found


def _read(tokenizer: Any, texts: Sequence[str], max_tokens: int, device: str, side: str = "right") -> Any:
    tokenizer.truncation_side = side
    read = tokenizer(
        list(texts), padding=True, truncation=True, max_length=max_tokens, return_tensors="pt", add_special_tokens=True
    )
    read.pop("token_type_ids", None)
    return read.to(device)
