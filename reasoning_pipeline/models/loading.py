"""A model folder into memory, and its tokenizer from folder to folder. Safetensors only, no remote code."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json",
                    "vocab.json", "merges.txt", "added_tokens.json", "tokenizer.model")  # fmt: skip


def load_model(folder: Path, *, dtype: str = "float32") -> PreTrainedModel:
    """A causal language model from a local folder."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype), use_safetensors=True, trust_remote_code=False, local_files_only=True
    )


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer as transformers wants it, padding on the left."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, padding_side="left", trust_remote_code=False, local_files_only=True)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Tokenizer and template go from start to result byte by byte, so that their digests stay equal."""
    for name in _TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
