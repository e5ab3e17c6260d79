"""`evals`, `launch` and `recipes`: in a checkout they lie beside this package, installed they lie in this folder, since
names so general have no place at the top of site-packages. By `reasoning_pipeline.beside.evals` both are found.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

_INSIDE = Path(__file__).resolve().parent
_PACKAGES = (f"{__name__}.evals", f"{__name__}.launch")

INSTALLED = (_INSIDE / "recipes").is_dir()
"""Whether this is an installed package, and no checkout."""

FOLDER = _INSIDE if INSTALLED else _INSIDE.parents[1]
"""Where the three are."""

PIPELINE = "reasoning-pipeline" if INSTALLED else "python -m reasoning_pipeline"
EVALS = "reasoning-evals" if INSTALLED else "python -m evals"
LAUNCH = "reasoning-launch" if INSTALLED else "python -m launch"
"""What a person types; for messages."""


class _InTheCheckout:
    """Finds the two packages there, and nothing else of what lies beside them."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [str(FOLDER)]) if name in _PACKAGES else None


if not INSTALLED:
    sys.meta_path.append(_InTheCheckout)
