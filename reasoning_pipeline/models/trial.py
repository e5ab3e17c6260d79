"""Whether transformers finds every weight of a model, for families that are not known by heart (families.py).

In a process of its own, which holds no weight: it imports torch, and what plans and runs does without.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.models.description import CONFIG, read_json
from reasoning_pipeline.models.families import parameters

TIMEOUT_S = 600
"""Importing the libraries is nearly all of it."""


def check_loads(folder: Path, *, writes: bool) -> None:
    """Raises IncompatibleModels with what loading would say hours later.

    Args:
        writes: Whether its head is needed, too.
    """
    if parameters(read_json(folder / CONFIG)) is not None:
        return
    program = [sys.executable, "-m", __name__, str(folder), *(["writes"] if writes else [])]
    done = subprocess.run(program, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode == IncompatibleModels.exit_status:
        said = json.loads(done.stdout.strip().splitlines()[-1])
        raise IncompatibleModels(said["message"], remedy=said["remedy"])
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise IncompatibleModels(
            f"{folder}: transformers cannot load it: {lines[-1]}", remedy="copy the folder again, or take another model"
        )


def main(folder: Path, *, writes: bool) -> int:
    from reasoning_pipeline.models.loading import load_encoder, load_model

    try:
        (load_model if writes else load_encoder)(folder, device="meta")
    except IncompatibleModels as error:
        print(json.dumps({"message": error.message, "remedy": error.remedy}))
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), writes="writes" in sys.argv[2:]))
