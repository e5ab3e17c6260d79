"""`evals`, `launch` and `recipes`: in a checkout they lie beside this package, installed they lie in this folder, since
names so general have no place at the top of site-packages. By `reasoning_pipeline.beside.evals` both are found.
"""

from __future__ import annotations

from pathlib import Path

_INSIDE = Path(__file__).resolve().parent

INSTALLED = (_INSIDE / "recipes").is_dir()
"""Whether this is an installed package, and no checkout."""

FOLDER = _INSIDE if INSTALLED else _INSIDE.parents[1]
"""Where the three are."""

__path__ = [str(FOLDER)]

PIPELINE = "reasoning-pipeline" if INSTALLED else "python -m reasoning_pipeline"
EVALS = "reasoning-evals" if INSTALLED else "python -m evals"
LAUNCH = "reasoning-launch" if INSTALLED else "python -m launch"
"""What a person types; for messages."""
