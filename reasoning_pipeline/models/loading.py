"""A model folder into memory. Safetensors only, no remote code, and nothing of the folder that bends what a model says:
no dropout, no default of sampling, no invented weight, one rule for padding."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.models.description import CONFIG, GENERATION, declared_ends, dropouts, read_json

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel


def load_model(folder: Path, *, dtype: str = "float32", device: str | None = None) -> PreTrainedModel:
    """A causal language model from a local folder, to train or to ask.

    Args:
        device: `meta` looks for every weight and reads none.

    Raises:
        IncompatibleModels: A weight is missing, which transformers would make up at random, or has another shape.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    _without_dropout(config)
    for name in config._get_generation_parameters():  # of old models, a repetition penalty say; neither read nor saved
        setattr(config, name, None)
    model: PreTrainedModel = _loaded(AutoModelForCausalLM, folder, dtype, device, config=config)
    model.generation_config = _plain_generation(declared_ends(folder))
    return model


def load_encoder(folder: Path, *, dtype: str = "float32", device: str | None = None) -> PreTrainedModel:
    """A model for its last hidden states alone, in evaluation. Raises IncompatibleModels, as `load_model`."""
    from transformers import AutoModel

    model: PreTrainedModel = _loaded(AutoModel, folder, dtype, device, unused=("pooler.",))
    return model.eval()


def _loaded(
    kind: Any, folder: Path, dtype: str, device: str | None, *, unused: tuple[str, ...] = (), **options: Any
) -> Any:
    """`unused` begin names of weights that may be made up, since nobody asks for what they compute."""
    import torch

    model, report = kind.from_pretrained(
        folder,
        dtype=getattr(torch, dtype),
        device_map=device,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # told below, by name
        **options,
    )
    remedy = f"{CONFIG} and weights do not belong together; copy the folder again"
    if mismatched := sorted(report["mismatched_keys"]):
        name, stored, wanted = mismatched[0]
        raise IncompatibleModels(
            f"{folder}: {name} is {'×'.join(map(str, stored))}, by {CONFIG} it is {'×'.join(map(str, wanted))}",
            remedy=remedy,
        )
    if missing := sorted(name for name in report["missing_keys"] if not name.startswith(unused)):
        raise IncompatibleModels(
            f"{folder}: {len(missing)} weights are in no file, the first {missing[0]}; they would be made up at random",
            remedy=remedy,
        )
    return model


def _without_dropout(config: Any) -> None:
    """Switch every dropout of a configuration off: a policy in training must be the one that was sampled, and a student
    compared with a teacher must say the same twice. What is published keeps the start's own configuration."""
    for name in dropouts(config.to_dict()):
        *inside, last = name.split(".")
        part = config
        for step in inside:
            part = part[step] if isinstance(part, dict) else getattr(part, step)
        if isinstance(part, dict):
            part[last] = 0.0
        else:
            setattr(part, last, 0.0)


def _plain_generation(ends: list[int]) -> GenerationConfig:
    """Settings of generation that set nothing but the end tokens. In place of a folder's own: those are merged into
    whatever `generate` is asked for, and some of them cannot even be saved in a resume point."""
    from transformers import GenerationConfig

    return GenerationConfig(eos_token_id=ends or None)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer as transformers wants it, padding on the left, with a token to pad with."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(
        folder, padding_side="left", trust_remote_code=False, local_files_only=True
    )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(_declared_pad(folder, tokenizer))
    return tokenizer


def pad_id(folder: Path) -> int:
    """What rows of unequal length are filled up with. One rule for trainers, samplers and scoring: the tokenizer's own
    pad token, else the one that config.json or generation_config.json names, else the end token (Llama 3 names none).
    Padding is masked everywhere; it only must be a token of the vocabulary, and no token of ordinary text."""
    found: int = load_tokenizer(folder).pad_token_id
    return found


def _declared_pad(folder: Path, tokenizer: Any) -> int:
    named = (read_json(folder / name).get("pad_token_id") for name in (CONFIG, GENERATION))
    candidates = [*named, tokenizer.eos_token_id, *declared_ends(folder)]
    found = next((c for c in candidates if isinstance(c, int) and 0 <= c < len(tokenizer)), None)
    if found is None:
        raise IncompatibleModels(
            f"{folder}: neither a pad token nor an end token", remedy="name an eos_token in tokenizer_config.json"
        )
    return found
