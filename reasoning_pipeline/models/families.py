"""Which tensors a decoder has, with their shapes, for the families that most people bring: from config.json alone, no
torch.

transformers makes up at random what no file holds and leaves out what it has no place for. Loading says the former, but
a student is loaded hours after its teacher; here both are known before anything runs. A test holds each family against
the model that transformers builds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Shape = tuple[int | None, ...]
"""None where config.json does not say."""

HEAD, EMBEDDING = "lm_head.weight", "embed_tokens.weight"
BACKBONE = "model."
"""What names begin with in a model that writes; one saved without its head has them bare."""
_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, kw_only=True)
class Family:
    """How a decoder's layers differ from plain ones: norm, attention, norm, gated feed-forward, no biases."""

    biases: tuple[str, ...] = ()
    """Projections that always have one."""
    attention_bias: bool = False
    """Whether it heeds the key of this name in config.json; so below."""
    mlp_bias: bool = False
    norms: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm")
    query_norm: str = ""
    """Queries and keys are normalised by `head` or over `all` heads."""
    fused: bool = False
    """Queries, keys and values in one matrix; the two that enter the feed-forward in another."""
    tied: bool = False
    """Whether head and embedding are one where config.json does not say."""
    head_dim: int | None = None
    """Where config.json does not say; None is hidden size by heads."""


_SANDWICH = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)
_PLAIN, _BOTH = Family(), Family(attention_bias=True, mlp_bias=True)
_OLMO = Family(attention_bias=True, query_norm="all", norms=(_SANDWICH[1], _SANDWICH[3]))
FAMILIES = {
    "llama": _BOTH,
    "granite": _BOTH,
    "mistral": _PLAIN,
    "ministral3": Family(head_dim=128),
    "exaone4": Family(query_norm="head", norms=(_SANDWICH[1], _SANDWICH[3])),
    "qwen2": Family(biases=("q_proj", "k_proj", "v_proj")),
    "qwen3": Family(attention_bias=True, query_norm="head", head_dim=128),
    "gemma": Family(attention_bias=True, tied=True, head_dim=256),
    "gemma2": Family(attention_bias=True, tied=True, head_dim=256, norms=_SANDWICH),
    "gemma3_text": Family(attention_bias=True, tied=True, head_dim=256, norms=_SANDWICH, query_norm="head"),
    "olmo2": _OLMO,
    "olmo3": _OLMO,
    "phi3": Family(fused=True),
    "smollm3": Family(attention_bias=True, mlp_bias=True, tied=True),
}
"""By `model_type`."""


def tied(config: dict[str, Any]) -> bool | None:
    """Whether the head is the embedding; None where neither config.json nor a family says."""
    family = FAMILIES.get(str(config.get("model_type")))
    said: bool | None = config.get("tie_word_embeddings", None if family is None else family.tied)
    return said


def parameters(config: dict[str, Any]) -> dict[str, Shape] | None:
    """Name -> shape of everything that the model learns, its head included; None for other families."""
    family = FAMILIES.get(str(config.get("model_type")))
    layers = _size(config, "num_hidden_layers")
    if family is None or layers is None:
        return None
    hidden, vocabulary = _size(config, "hidden_size"), _size(config, "vocab_size")
    inside = dict(_layer(family, config, hidden))
    found: dict[str, Shape] = {f"{BACKBONE}{EMBEDDING}": (vocabulary, hidden), f"{BACKBONE}norm.weight": (hidden,)}
    found |= {f"{BACKBONE}layers.{n}.{name}": shape for n in range(layers) for name, shape in inside.items()}
    return found | {HEAD: (vocabulary, hidden)}


def _layer(family: Family, config: dict[str, Any], hidden: int | None) -> Iterator[tuple[str, Shape]]:
    heads, inner = _size(config, "num_attention_heads"), _size(config, "intermediate_size")
    groups = heads if config.get("num_key_value_heads", 0) is None else _size(config, "num_key_value_heads")
    dim = _size(config, "head_dim") or family.head_dim or (hidden // heads if hidden and heads else None)
    q, kv = (count * dim if count and dim else None for count in (heads, groups))
    matrices: dict[str, tuple[int | None, int | None]] = {
        "self_attn.q_proj": (q, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, q),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    if family.fused:
        for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj"):
            del matrices[name]
        matrices["self_attn.qkv_proj"] = (q + 2 * kv if q and kv else None, hidden)
        matrices["mlp.gate_up_proj"] = (2 * inner if inner else None, hidden)
    biased = set(family.biases)
    biased |= set(_ATTENTION) if family.attention_bias and config.get("attention_bias") else set()
    biased |= set(_FEED_FORWARD) if family.mlp_bias and config.get("mlp_bias") else set()
    for name, shape in matrices.items():
        yield f"{name}.weight", shape
        if name.rpartition(".")[2] in biased:
            yield f"{name}.bias", shape[:1]
    for name in family.norms:
        yield f"{name}.weight", (hidden,)
    if family.query_norm:
        for name, width in (("q_norm", q), ("k_norm", kv)):
            yield f"self_attn.{name}.weight", (dim if family.query_norm == "head" else width,)


def _size(config: dict[str, Any], name: str) -> int | None:
    value = config.get(name)
    return value if type(value) is int else None
