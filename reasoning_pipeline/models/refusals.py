"""What of a model folder would go wrong hours later, found without torch, in milliseconds, before labels are spent."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.errors import IncompatibleModels, PipelineError
from reasoning_pipeline.models import belonging
from reasoning_pipeline.models.description import CONFIG, GENERATION, Refusal, read_json, text_part
from reasoning_pipeline.models.outside import require_weights
from reasoning_pipeline.models.rope import rope_problem
from reasoning_pipeline.models.weights import ADAPTER, Header, tensors

EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
RECURRENT = ("ssm_cfg", "state_size", "mamba_d_state", "ssm_state_size", "layers_block_type", "block_types",
             "hybrid_override_pattern", "attention_free")  # fmt: skip
"""Keys by which configurations name layers that carry a state along the text, where they have no `layer_types`."""
ATTENTION = {"full_attention", "sliding_attention"}
WRITES = ("CausalLM", "LMHead", "ConditionalGeneration")
"""In the name of an architecture that writes text."""
_READ = (CONFIG, GENERATION, "tokenizer_config.json", "tokenizer.json")


def check_model(folder: Path, *, writes: bool = True) -> None:
    """Refuse a model that no step here could train, or that a server would not hold as a trainer does.

    Args:
        writes: Whether it has to; an embedder needs no head and no server.

    Raises:
        RegistryError: Weights, or parts of them, are missing or cut off.
        IncompatibleModels: Everything else, each with what to do.
    """
    require_weights(folder)
    found = tensors(folder)
    values = {}
    for name in _READ:
        try:
            values[name] = read_json(folder / name)
        except ValueError as error:
            what = f"unreadable JSON in {name} ({error})"
            raise _refused(folder, what, "mend the file, or copy it again") from error
    config = values[CONFIG]
    weights = (*(belonging.OF_SERVED if writes else ()), *belonging.CHECKS)
    for problem in (_experts, _code, belonging.quantization, _adapter, _attention, _rope, *weights, _ends):
        if refusal := problem(folder, config, found):
            raise _refused(folder, *refusal)


def check_speaks(folder: Path, prompt: PromptConfig) -> None:
    """Refuse a model that is to write text, or to judge it token by token, and cannot be spoken to.

    Raises:
        IncompatibleModels: It has another kind of head.
        DataError: No tokenizer, no end token, no chat template, or one that does not take the recipe's prompt.
    """
    from reasoning_pipeline.data.prompts import PromptRenderer  # jinja2, which few plans need

    config = read_json(folder / CONFIG)
    named = config.get("architectures") or []
    if config.get("is_encoder_decoder") or (named and not any(word in name for name in named for word in WRITES)):
        raise _refused(
            folder,
            f"{', '.join(named) or config.get('model_type')} is no decoder that writes text",
            "take a causal language model; of an encoder, an encoder-decoder or a classifier nothing here learns",
        )
    renderer = PromptRenderer.from_folder(folder, prompt)
    renderer.prompt_ids("1+1")
    renderer.stop_ids  # noqa: B018 - raises where there is none


def _refused(folder: Path, what: str, remedy: str) -> PipelineError:
    return IncompatibleModels(f"{folder}: {what}", remedy=remedy)


def _experts(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    text = text_part(config)
    counts = [f"{name}: {value}" for name in EXPERTS if isinstance(value := text.get(name), int) and value > 1]
    counts += [name for name in found if ".experts." in name or ".block_sparse_moe." in name]  # by whatever key
    if not counts:
        return None
    return (
        f"a mixture of experts ({counts[0]}), which this version does not train: transformers and vLLM lay experts "
        "out differently, and a push of their weights could not be proved",
        "take a dense model of the family",
    )


def _code(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    kind = config.get("model_type", text_part(config).get("model_type"))
    if _has_folder(str(kind)):
        return None
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES  # seconds; few models get here

    if kind in CONFIG_MAPPING_NAMES:
        return None  # transformers has grown the architecture itself; the folder's code is left alone
    needs = f"needs code of its own (auto_map in {CONFIG}, model_type {kind!r}), which is never run"
    return (
        needs if "auto_map" in config else f"model_type {kind!r} of {CONFIG} is none that transformers knows",
        "take a model whose architecture transformers and vLLM have themselves",
    )


def _has_folder(kind: str) -> bool:
    """Whether transformers has a module for a model of this type, looked for without importing it."""
    package = find_spec("transformers")
    places = package.submodule_search_locations if package is not None else None
    return any((Path(place) / "models" / kind.replace("-", "_") / "__init__.py").is_file() for place in places or ())


def _adapter(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    """transformers would load the model that the adapter names, and the adapter; a server the weights."""
    if not (folder / ADAPTER).is_file():
        return None
    return (
        f"{ADAPTER} beside whole weights: trainer and server would load different models",
        "remove the adapter's files, if the weights are merged; else merge it (`merge_and_unload`) and save that",
    )


def _attention(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    """What our trainers' attention would leave out, or could not keep from the neighbouring row."""
    text = text_part(config)
    others = sorted(set(text.get("layer_types") or ()) - ATTENTION)
    others += [name for name in RECURRENT if text.get(name)]
    if others or str(config.get("model_type", "")).startswith(("mamba", "rwkv", "recurrent_gemma")):
        return (
            f"layers that carry state along the text ({', '.join(others) or config['model_type']}): rows are trained "
            "end to end, and it would leak from one into the next",
            "take a model with attention in all layers",
        )
    if (cap := text.get("attn_logit_softcapping")) is not None:
        return (
            f"attention scores are capped (attn_logit_softcapping {cap}), which the trainer's kernels leave out and "
            "the server's do not",
            "take a model without: Gemma 3, Qwen, Llama, …",
        )
    return None


def _rope(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    return rope_problem(text_part(config))


def _ends(folder: Path, config: dict[str, Any], found: Header) -> Refusal:
    named = read_json(folder / GENERATION).get("eos_token_id")
    ids = named if isinstance(named, list) else [named] if named is not None else []
    if all(type(one) is int and one >= 0 for one in ids):
        return None
    return f"eos_token_id of {GENERATION} is {named!r}", "name a token's number there, or a list of numbers"
