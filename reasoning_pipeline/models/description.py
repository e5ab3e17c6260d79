"""What a model folder says beside its weights: which files go with the model as they are, and what of them we ignore.

End tokens, chat template and defaults of sampling decide what a model is as much as its weights do. So a trained model
gets them byte for byte from its start; what the start does not have, the result does not have, and libraries that write
such files of their own accord (transformers, with the end tokens of two files put together) are not asked.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from reasoning_pipeline.models.outside import model_files
from reasoning_pipeline.models.weights import ADAPTER, INDEX, read_header, weight_files

CONFIG = "config.json"
GENERATION = "generation_config.json"
TEMPLATES = "additional_chat_templates"
"""A folder in which transformers looks for templates beside the one that is used here."""
_NOT_DESCRIBING = (INDEX, ADAPTER, "record.json", "probe.json")
"""Of the files that make a model: what belongs to these weights alone."""

_NO_DEFAULTS = ("eos_token_id", "bos_token_id", "pad_token_id", "transformers_version", "_from_model_config",
                "do_sample", "trust_remote_code")  # fmt: skip
"""Of generation_config.json, what is no setting that could bend a distribution: ids, and `do_sample`."""
_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}

Refusal = tuple[str, str] | None
"""Of a model folder that cannot be used: what was found, and what to do."""


def carry_over(start: Path, result: Path) -> None:
    """Make the description of a trained model its start's. `result` holds what a trainer saved: of that only weights
    stay.

    config.json is the start's, too, but for the precision of weights that were saved in another: trainers switch
    dropout and the cache of generation off in theirs.
    """
    weights = {path.name for path in weight_files(result)} | {INDEX}
    for path in result.iterdir():
        if path.is_file() and path.name not in weights:
            path.unlink()
    for path in model_files(start):
        if path.suffix != ".safetensors" and path.name not in _NOT_DESCRIBING:
            shutil.copyfile(path, result / path.name)
    if (start / TEMPLATES).is_dir():
        shutil.copytree(start / TEMPLATES, result / TEMPLATES, dirs_exist_ok=True)
    config = read_json(start / CONFIG)
    named = {key: _dtype(result) for key in ("dtype", "torch_dtype") if key in config}
    if any(config[key] != found for key, found in named.items()):
        (result / CONFIG).write_text(json.dumps(config | named, indent=2) + "\n", encoding="utf-8")


def ignored_defaults(folder: Path) -> dict[str, Any]:
    """Settings of generation_config.json that no engine applies here: sampling is what the recipe says.

    Example: {"repetition_penalty": 1.05, "temperature": 0.7, "top_k": 20, "top_p": 0.8} for Qwen2.5-Instruct.
    """
    settings = read_json(folder / GENERATION)
    return {
        name: settings[name] for name in sorted(settings) if name not in _NO_DEFAULTS and settings[name] is not None
    }


def declared_ends(folder: Path) -> list[int]:
    """The end tokens of generation_config.json, none where it names none."""
    declared = read_json(folder / GENERATION).get("eos_token_id")
    return [declared] if isinstance(declared, int) else list(declared or [])


def dropouts(config: dict[str, Any]) -> dict[str, float]:
    """Every probability of dropping something that a model's own configuration asks for, by its name there.

    Example: dropouts({"attention_dropout": 0.1, "hidden_dropout": 0.0}) == {"attention_dropout": 0.1}
    """
    return {
        name: value
        for name, value in config.items()
        if isinstance(value, float | int)
        and not isinstance(value, bool)
        and value > 0
        and any(word in name for word in ("dropout", "pdrop", "layerdrop", "drop_path"))
    } | {
        f"{name}.{inner}": value
        for name, part in config.items()
        if isinstance(part, dict)
        for inner, value in dropouts(part).items()
    }


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; an empty one where there is no file. Raises ValueError for anything else."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: no JSON object")
    return found


def text_part(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration as its text model sees it: keys of its own go before those of the whole."""
    inner = config.get("text_config")
    return config | inner if isinstance(inner, dict) else config


def _dtype(folder: Path) -> str | None:
    kinds = {entry["dtype"] for entry in read_header(weight_files(folder)[0]).values()}
    return next((_DTYPES[kind] for kind in _DTYPES if kind in kinds), None)
