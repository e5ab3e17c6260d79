"""What of a model folder would go wrong hours later, found without torch, in milliseconds, before labels are spent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reasoning_pipeline.errors import IncompatibleModels, PipelineError
from reasoning_pipeline.models.description import CONFIG, GENERATION, read_json
from reasoning_pipeline.models.outside import require_weights
from reasoning_pipeline.models.weights import Header, raw, tensors

EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
HEAD, EMBEDDING = "lm_head.weight", "embed_tokens.weight"


def check_model(folder: Path) -> None:
    """Refuse a model that no step here could train, or that a server would not hold as a trainer does.

    Raises:
        RegistryError: Weights, or parts of them, are missing or cut off.
        IncompatibleModels: Everything else, each with what to do.
    """
    require_weights(folder)
    found = tensors(folder)
    try:
        config, _ = read_json(folder / CONFIG), read_json(folder / GENERATION)
    except ValueError as error:
        raise _refused(folder, f"unreadable JSON ({error})", "mend the file, or copy it again") from error
    for problem in (_experts, _code, _quantization, _head, _vocabulary):
        if refusal := problem(folder, config, found):
            raise _refused(folder, *refusal)


def _refused(folder: Path, what: str, remedy: str) -> PipelineError:
    return IncompatibleModels(f"{folder}: {what}", remedy=remedy)


Refusal = tuple[str, str] | None
"""What was found, and what to do."""


def _text(config: dict[str, Any]) -> dict[str, Any]:
    inner = config.get("text_config")
    return config | inner if isinstance(inner, dict) else config


def _experts(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    counts = {name: value for name in EXPERTS if isinstance(value := _text(config).get(name), int) and value > 1}
    if not counts:
        return None
    name, count = next(iter(counts.items()))
    return (
        f"a mixture of experts ({name}: {count}), which this version does not train: transformers and vLLM lay experts "
        "out differently, and a push of their weights could not be proved",
        "take a dense model of the family",
    )


def _code(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    if "auto_map" not in config:
        return None
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES  # seconds; few models get here

    if config.get("model_type") in CONFIG_MAPPING_NAMES:
        return None  # transformers has grown the architecture itself; the folder's code is left alone
    return (
        f"needs code of its own (auto_map in {CONFIG}, model_type {config.get('model_type')!r}), which is never run",
        "take a model whose architecture transformers and vLLM have themselves",
    )


def _quantization(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    settings = config.get("quantization_config")
    if settings is None:
        return None
    method = settings.get("quant_method", "unknown") if isinstance(settings, dict) else settings
    return f"quantized weights ({method}), which cannot be trained", "take the model in bfloat16 or float32"


def _head(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    """Transformers leaves a head untied that differs from the embedding, whatever the configuration says; vLLM ties."""
    tied = _text(config).get("tie_word_embeddings", config.get("tie_word_embeddings"))
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


def _vocabulary(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    """An id beyond the embedding ends a trainer with an index error, on a GPU without saying which."""
    rows = next((entry["shape"][0] for name, entry in found.items() if name.endswith(EMBEDDING)), None)
    declared = _text(config).get("vocab_size")
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
