"""Rotary frequencies that a configuration scales: do trainer and server choose the same, and for rows of which length?

transformers chooses some by the longest row of a call (`longrope`, and `dynamic` beyond the model's positions), so that
what a row is trained on would depend on the rows beside it; vLLM chooses once, by the longest row that it may be asked
for. Below the length at which they change both hold one set, and positions end there. Of other kinds the two read the
same numbers, but not under the same keys: compared kind by kind with transformers 5.17 and vLLM 0.31.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from reasoning_pipeline.models.description import Refusal

ORIGINAL = "original_max_position_embeddings"
REQUIRED = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "yarn": ("factor", ORIGINAL),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", ORIGINAL),
    "longrope": ("short_factor", "long_factor", ORIGINAL),
}
"""Kinds that both know, and what each must be given; ORIGINAL would be guessed to be the length after scaling."""
NUMBERS = {"factor": 1, ORIGINAL: 1} | dict.fromkeys(
    ("low_freq_factor", "high_freq_factor", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim"), 0
)
"""What must be a number, and the least that it may be."""
NEVER_NULL = ("beta_fast", "beta_slow")
"""Where the trainer takes null for its default, and the server multiplies with it."""
ONE_SIDED = {"dynamic": ("alpha", "max_trained_positions")}
"""Keys that the server heeds and the trainer does not."""


def rope_problem(config: dict[str, Any]) -> Refusal:
    """(what was found, what to do) where trainer and server would turn with different frequencies, or one of them would
    not start. `config` is the text model's."""
    if config.get("dual_chunk_attention_config"):
        return (
            "dual_chunk_attention_config: the server attends in chunks, the trainer does not",
            "remove it from config.json; rows up to the length of one chunk need none",
        )
    return next((found for where, one in _settings(config) if (found := _problem(where, one, config))), None)


def usable_positions(config: dict[str, Any]) -> tuple[int | None, str]:
    """(tokens of the longest row for which frequencies are one set, why no more); `config` is the text model's."""
    most, why = config.get("max_position_embeddings"), ""
    for where, one in _settings(config):
        if not isinstance(one, dict) or not _is_number(original := _original(one, config)):
            continue
        if _kind(one) == "longrope":
            bound, reason = int(original), "frequencies change beyond them"
        elif _kind(one) == "yarn" and _is_number(one.get("factor")):
            bound, reason = int(original * one["factor"]), f"{ORIGINAL} times factor"
        else:
            continue
        if most is None or bound < most:
            most, why = bound, f" ({where}: {_kind(one)}, {reason})"
    return most, why


def _settings(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """(where it stands, settings): one for the model, or one for each kind of its layers."""
    name = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    found = config.get(name)
    if isinstance(found, dict) and found and all(value is None or isinstance(value, dict) for value in found.values()):
        yield from ((f"{name}.{layers}", one) for layers, one in found.items() if one is not None)
    elif found is not None:
        yield name, found


def _problem(where: str, one: Any, config: dict[str, Any]) -> Refusal:
    mend = f"write it into {where} of config.json as the model's authors publish it"
    if not isinstance(one, dict):
        return f"{where} is {one!r}, no mapping", mend
    kind = _kind(one)
    if kind is not None and not isinstance(kind, str):
        return f"{where}: rope_type is {kind!r}", mend
    if "type" in one and one["type"] not in (kind, {"longrope": "su", "default": "mrope"}.get(kind or "")):
        return f"{where} names two kinds, rope_type {kind!r} and type {one['type']!r}", "remove `type` in config.json"
    if kind is None and "factor" in one:
        return f"{where} has a factor and no rope_type: it would not be heeded", mend
    if kind is not None and kind not in REQUIRED and not (kind == "proportional" and _is_gemma(config)):
        known = ", ".join(REQUIRED)
        return f"{where}: rope_type {kind!r} is none that trainer and server both know ({known})", mend
    given = one | {ORIGINAL: _original(one, config)}
    if missing := [name for name in REQUIRED.get(kind or "default", ()) if given.get(name) is None]:
        return f"{where}: {kind} without {', '.join(missing)}", mend
    for name, least in NUMBERS.items():
        value: Any = given.get(name)
        if value is None and not (name in one and name in NEVER_NULL):
            continue
        if not _is_number(value) or value < least:
            return f"{where}: {name} is {value!r}", mend
    if kind == "linear" and not isinstance(one["factor"], float):
        return f"{where}: factor is {one['factor']}, which the server takes for a list", f"write {one['factor']}.0"
    for name in ONE_SIDED.get(kind or "", ()):
        if name in one and not str(config.get("model_type")).startswith("hunyuan"):
            return (
                f"{where}: {name} is heeded by the server alone",
                "take a model that transformers reads as it is meant",
            )
    return _long(where, given, config) if kind == "longrope" else None


def _long(where: str, one: dict[str, Any], config: dict[str, Any]) -> Refusal:
    factors = [one["short_factor"], one["long_factor"]]
    if not all(isinstance(part, list) and part and all(map(_is_number, part)) for part in factors):
        return f"{where}: short_factor and long_factor are no lists of numbers", "copy config.json again"
    if len(factors[0]) != len(factors[1]):
        return (
            f"{where}: short_factor has {len(factors[0])} numbers, long_factor {len(factors[1])}",
            "copy config.json again",
        )
    if (half := _half(one, config)) is not None and len(factors[0]) != half:
        return f"{where}: short_factor has {len(factors[0])} numbers, a head turns by {half}", "copy config.json again"
    longest, original = config.get("max_position_embeddings"), one[ORIGINAL]
    ratio = longest / original if _is_number(longest) else one.get("factor", 1.0)
    ours = one.get("attention_factor") or _attention(one.get("factor", ratio), original)
    theirs = one.get("short_mscale") or _attention(ratio, original)
    if not math.isclose(ours, theirs, rel_tol=1e-6):
        return (
            f"{where}: the trainer multiplies by {ours:.6g} (attention_factor, factor), the server by {theirs:.6g} "
            "(short_mscale, max_position_embeddings)",
            "leave attention_factor, factor and short_mscale out of it where the model's authors do",
        )
    return None


def _half(one: dict[str, Any], config: dict[str, Any]) -> int | None:
    """Frequencies of a head; None where config.json does not say."""
    width, heads = config.get("hidden_size"), config.get("num_attention_heads")
    dim = config.get("head_dim") or (width // heads if isinstance(width, int) and isinstance(heads, int) else None)
    part = one.get("partial_rotary_factor", config.get("partial_rotary_factor"))
    return None if dim is None else int(dim * (1.0 if part is None else part)) // 2


def _attention(factor: float, original: float) -> float:
    """LongRoPE's scale of queries and keys (Ding et al., arXiv 2402.13753)."""
    return 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))


def _kind(one: dict[str, Any]) -> Any:
    kind = one.get("rope_type", one.get("type"))
    return "default" if kind == "mrope" and "mrope_section" in one else kind


def _original(one: dict[str, Any], config: dict[str, Any]) -> Any:
    """The model's own goes before that of its rope."""
    return one.get(ORIGINAL) if config.get(ORIGINAL) is None else config[ORIGINAL]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_gemma(config: dict[str, Any]) -> bool:
    return str(config.get("model_type")).startswith("gemma4")
