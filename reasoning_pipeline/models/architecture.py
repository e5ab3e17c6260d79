"""What of a model shapes its weights: two of one architecture can take turns in one server."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from reasoning_pipeline.models.description import text_part
from reasoning_pipeline.models.rope import usable_positions

_NOT_ARCHITECTURE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache")


def architecture(folder: Path) -> str:
    """Two folders with equal values can take turns in one server. Canonical JSON of what shapes the weights."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return json.dumps({k: v for k, v in config.items() if k not in _NOT_ARCHITECTURE}, sort_keys=True)


def architecture_digest(folder: Path) -> str:
    """A short name for `architecture(folder)`; servers tell theirs on /status."""
    return hashlib.sha256(architecture(folder).encode()).hexdigest()[:16]


def positions(folder: Path) -> int | None:
    """Tokens of the longest row that trainer and server read alike; None where the configuration does not say."""
    return usable_positions(_text(folder))[0]


def why_no_longer(folder: Path) -> str:
    """In brackets, what of its frequencies bounds `positions`; nothing where max_position_embeddings does."""
    return usable_positions(_text(folder))[1]


def _text(folder: Path) -> dict[str, Any]:
    return text_part(json.loads((folder / "config.json").read_text(encoding="utf-8")))


def bounded_length(folder: Path, wanted: int | None, *, trains: bool = True) -> int | None:
    """`wanted`, but no more than the model has positions.

    Args:
        trains: Whether what is written within them is trained on. Else a server may be asked for all that the model
            declares, and chooses the frequencies that go with it.
    """
    most = positions(folder) if trains else _text(folder).get("max_position_embeddings")
    return min(wanted, most) if wanted is not None and most is not None else wanted
