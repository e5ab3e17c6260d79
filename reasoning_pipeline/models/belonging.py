"""Whether a folder's weights and its configuration belong together, from names and shapes alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from reasoning_pipeline.models.description import CONFIG, Refusal, read_json, text_part
from reasoning_pipeline.models.families import BACKBONE, EMBEDDING, FAMILIES, HEAD, Shape, parameters, tied
from reasoning_pipeline.models.weights import INDEX, WHOLE, Header, indexed_files, raw, weight_files

FLOATS = ("F64", "F32", "F16", "BF16")
"""What weights that can be trained are stored in."""
PACKED = (".qweight", ".qzeros", ".scales", ".weight_scale", ".weight_scale_inv", ".weight_packed", ".absmax", ".SCB")
"""Endings by which GPTQ, AWQ, compressed-tensors, bitsandbytes and float8 name what belongs to quantized weights."""
BESIDE = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")
"""Files of AutoGPTQ, AWQ and ModelOpt that say the same as `quantization_config`; servers read the last."""
TOGETHER = f"{CONFIG} and weights do not belong together; copy the folder again"
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


def quantization(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    """By what config.json says, or by how they are stored where it says nothing: loading would take their numbers as
    they are and leave out what they are to be multiplied with."""
    text = text_part(config)
    keys = ("quantization_config", "compression_config")
    settings = next((text[key] for key in keys if text.get(key) is not None), None)
    if settings is not None:
        told = settings.get("quant_method", "unknown") if isinstance(settings, dict) else settings
    else:
        named = next((name for name in found if name.endswith(PACKED)), None)
        stored = next((name for name, entry in found.items() if _is_packed(name, entry["dtype"])), None)
        beside = next((name for name in BESIDE if (folder / name).is_file()), None)
        told = f"{stored} in {found[stored]['dtype']}" if stored is not None else named or beside
    if told is None:
        return None
    return (
        f"quantized weights ({told}), which cannot be trained",
        "take the model in bfloat16 or float32; a conversion of it is dequantized by the tool that made it",
    )


def _is_packed(name: str, dtype: str) -> bool:
    """Tables and masks may be whole numbers, of any family; a float of eight bits is always a weight."""
    return dtype not in FLOATS and (name.endswith(".weight") or dtype.startswith("F"))


def layers(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    """Of fewer layers than the configuration says the rest is made up at random; more are dropped without a word."""
    numbers = {int(match[1]) for name in found if (match := _LAYER.search(name))}
    declared = text_part(config).get("num_hidden_layers")
    predicting = text_part(config).get("num_nextn_predict_layers") or 0
    if numbers and isinstance(declared, int) and not declared <= max(numbers) + 1 <= declared + predicting:
        return f"num_hidden_layers is {declared}, the weights have {max(numbers) + 1} layers", TOGETHER
    _, width = _embedding(found)
    hidden = text_part(config).get("hidden_size")
    if isinstance(hidden, int) and width is not None and "embedding_size" not in text_part(config) and width != hidden:
        return f"hidden_size is {hidden}, the embedding has vectors of {width}", TOGETHER
    return None


def _embedding(found: Header) -> tuple[int | None, int | None]:
    """(rows, their width) of the matrix that tokens are looked up in."""
    shape: list[int] = next((entry["shape"] for name, entry in found.items() if name.endswith(EMBEDDING)), [])
    return (shape[0], shape[1]) if len(shape) == 2 else (None, None)


def two_classes(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    kind, named = str(config.get("model_type")), config.get("architectures")
    if kind not in FAMILIES or not isinstance(named, list) or not named:
        return None
    if any(str(name).lower().startswith(kind.removesuffix("_text")) for name in named):
        return None
    return (
        f"architectures of {CONFIG} names {named[0]}, model_type {kind!r}: a server builds the former, a trainer the "
        "latter",
        f"copy {CONFIG} again, or name the class that the weights are of",
    )


def head(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    """Transformers leaves a head untied that differs from the embedding, whatever the configuration says; vLLM ties."""
    one = tied(text_part(config))
    if one and HEAD in found and not _same_bytes(folder, found):
        return (
            f"tie_word_embeddings is true, but the weights have a {HEAD} of their own: trainer and server would "
            "not hold the same model",
            f"set tie_word_embeddings to false in {CONFIG}, or leave the tensor out",
        )
    embedding = any(name.endswith(EMBEDDING) for name in found)
    if one is False and embedding and not any(name.endswith(HEAD) for name in found):
        said = "is false" if "tie_word_embeddings" in text_part(config) else f"is not in {CONFIG}, so it is false"
        return (
            f"tie_word_embeddings {said}, but there is no {HEAD}: it would be made up at random",
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
    rows, _ = _embedding(found)
    declared = text_part(config).get("vocab_size")
    if rows is not None and isinstance(declared, int) and rows != declared:
        return f"vocab_size is {declared}, the embedding has {rows} rows", f"set vocab_size to {rows} in {CONFIG}"
    size = rows if rows is not None else declared
    if not isinstance(size, int) or not (folder / "tokenizer.json").is_file():
        return None
    tokens = _tokens(folder)
    largest = max(tokens.items(), key=lambda entry: entry[1], default=None)
    if largest is not None and largest[1] >= size:
        return (
            f"token {largest[0]!r} has id {largest[1]}, the embedding has {size} rows",
            "resize the embedding (`resize_token_embeddings`), or take the tokenizer that belongs to the model",
        )
    pad = read_json(folder / "tokenizer_config.json").get("pad_token")
    text = pad.get("content") if isinstance(pad, dict) else pad
    if largest is not None and text and text not in tokens and largest[1] + 1 >= size:
        return (
            f"pad_token {text!r} is no token of tokenizer.json: it would get the id {largest[1] + 1}, the embedding "
            f"has {size} rows",
            "name one of the tokenizer's own tokens in tokenizer_config.json, or resize the embedding",
        )
    return None


def _tokens(folder: Path) -> dict[str, int]:
    tokenizer = read_json(folder / "tokenizer.json")
    vocabulary = tokenizer.get("model", {}).get("vocab", {})
    found = vocabulary if isinstance(vocabulary, dict) else {entry[0]: n for n, entry in enumerate(vocabulary)}
    return found | {token["content"]: token["id"] for token in tokenizer.get("added_tokens", [])}


def one_set(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    """A trainer reads one file where it is there, a server all that the index names, and without one all there are."""
    used = [path.name for path in weight_files(folder)]
    others = sorted(path.name for path in folder.glob("*.safetensors") if path.name not in used)
    if used != [WHOLE] or not others or (indexed := indexed_files(folder)) == used:
        return None
    beside = f"{INDEX}, which names {', '.join(indexed[:2])}" if indexed else others[0]
    return (
        f"two sets of weights, {WHOLE} and {beside}: trainer and server would not load the same",
        "remove the one that is not meant",
    )


def bare(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    """A server finds no place for names that a trainer reads."""
    if parameters(config) is None or EMBEDDING not in found:
        return None
    return (
        f"the weights of a model without its head ({EMBEDDING} in place of {BACKBONE}{EMBEDDING}), which a server "
        "does not load",
        "save it as a model that writes: AutoModelForCausalLM.from_pretrained(…).save_pretrained(…)",
    )


def learnt(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    """Of a family that is known by heart: what would be made up, what would be left out, what has another shape."""
    wanted = parameters(config)
    if wanted is None:
        return None
    if EMBEDDING in found:  # an embedder's
        wanted = {name.removeprefix(BACKBONE): shape for name, shape in wanted.items()}
    lacking = [name for name in wanted if name not in found and name != HEAD]
    beyond = [name for name in found if name not in wanted and not _left_alone(name, config)]
    if lacking:
        instead = f"; in their place there is {beyond[0]}" if beyond else ""
        what = f"{len(lacking)} of {len(wanted)} weights are in no file, the first {lacking[0]}{instead}"
        return f"{what}: they would be made up at random", TOGETHER
    if beyond:
        what = f"{len(beyond)} weights that a model of this {CONFIG} has no place for, the first {beyond[0]}"
        return f"{what}: they would be left out", f"{TOGETHER}, or leave out what is no part of the model"
    for name, shape in wanted.items():
        if name in found and not _fits(found[name]["shape"], shape):
            expected = "×".join("?" if size is None else str(size) for size in shape)
            stored = "×".join(map(str, found[name]["shape"]))
            return f"{name} is {stored}, by {CONFIG} it is {expected}", TOGETHER
    return None


def _fits(stored: list[int], wanted: Shape) -> bool:
    return len(stored) == len(wanted) and all(size in (None, there) for there, size in zip(stored, wanted, strict=True))


def _left_alone(name: str, config: dict[str, Any]) -> bool:
    """What both engines pass over: tables computed anew, and layers that predict more tokens at once."""
    layer, declared = _LAYER.search(name), config.get("num_hidden_layers")
    further = layer is not None and isinstance(declared, int) and int(layer[1]) >= declared
    return ".rotary_emb." in name or further or name.startswith("mtp.")


CHECKS = (layers, vocabulary, learnt)
OF_SERVED = (one_set, two_classes, head, bare)
"""Further ones, of models that write: their head is needed, and a server loads them, too."""
