"""Whether a folder's weights and its configuration belong together, from names and shapes alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from reasoning_pipeline.models.description import CONFIG, read_json, text_part
from reasoning_pipeline.models.weights import Header, raw

HEAD, EMBEDDING = "lm_head.weight", "embed_tokens.weight"
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")

Refusal = tuple[str, str] | None
"""What was found, and what to do."""


def layers(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    """Of fewer layers than the configuration says the rest is made up at random; more are dropped without a word."""
    numbers = {int(match[1]) for name in found if (match := _LAYER.search(name))}
    declared = text_part(config).get("num_hidden_layers")
    predicting = text_part(config).get("num_nextn_predict_layers") or 0
    if numbers and isinstance(declared, int) and not declared <= max(numbers) + 1 <= declared + predicting:
        return (
            f"num_hidden_layers is {declared}, the weights have {max(numbers) + 1} layers",
            f"{CONFIG} and weights do not belong together; copy the folder again",
        )
    width = next((entry["shape"][-1] for name, entry in found.items() if name.endswith(EMBEDDING)), None)
    hidden = text_part(config).get("hidden_size")
    if isinstance(hidden, int) and width is not None and "embedding_size" not in text_part(config) and width != hidden:
        return (
            f"hidden_size is {hidden}, the embedding has vectors of {width}",
            f"{CONFIG} and weights do not belong together; copy the folder again",
        )
    return None


def head(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    """Transformers leaves a head untied that differs from the embedding, whatever the configuration says; vLLM ties."""
    tied = text_part(config).get("tie_word_embeddings", config.get("tie_word_embeddings"))
    if tied and HEAD in found and not _same_bytes(folder, found):
        return (
            f"tie_word_embeddings is true, but the weights have a {HEAD} of their own: trainer and server would "
            "not hold the same model",
            f"set tie_word_embeddings to false in {CONFIG}, or leave the tensor out",
        )
    embedding = any(name.endswith(EMBEDDING) for name in found)
    if tied is False and embedding and not any(name.endswith(HEAD) for name in found):
        return (
            f"tie_word_embeddings is false, but there is no {HEAD}: it would be made up at random",
            f"set tie_word_embeddings to true in {CONFIG} where head and embedding are one, or add the tensor",
        )
    return None


def _same_bytes(folder: Path, found: Header) -> bool:
    """Whether head and embedding are one matrix, written twice."""
    name = next((name for name in found if name.endswith(EMBEDDING)), None)
    if name is None or found[name]["shape"] != found[HEAD]["shape"] or found[name]["dtype"] != found[HEAD]["dtype"]:
        return False
    return raw(folder, name) == raw(folder, HEAD)


def vocabulary(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    """An id beyond the embedding ends a trainer with an index error, on a GPU without saying which."""
    rows = next((entry["shape"][0] for name, entry in found.items() if name.endswith(EMBEDDING)), None)
    declared = text_part(config).get("vocab_size")
    if rows is not None and isinstance(declared, int) and rows != declared:
        return f"vocab_size is {declared}, the embedding has {rows} rows", f"set vocab_size to {rows} in {CONFIG}"
    size = rows if rows is not None else declared
    if not isinstance(size, int) or not (folder / "tokenizer.json").is_file():
        return None
    largest = _largest_id(folder)
    if largest is not None and largest[1] >= size:
        return (
            f"token {largest[0]!r} has id {largest[1]}, the embedding has {size} rows",
            "resize the embedding (`resize_token_embeddings`), or take the tokenizer that belongs to the model",
        )
    return None


def _largest_id(folder: Path) -> tuple[str, int] | None:
    tokenizer = read_json(folder / "tokenizer.json")
    vocabulary = tokenizer.get("model", {}).get("vocab", {})
    ids = list(vocabulary.items()) if isinstance(vocabulary, dict) else [(e[0], i) for i, e in enumerate(vocabulary)]
    ids += [(token["content"], token["id"]) for token in tokenizer.get("added_tokens", [])]
    return max(ids, key=lambda entry: entry[1], default=None)


CHECKS = (layers, head, vocabulary)
