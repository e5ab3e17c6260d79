"""The scripts that `launch slurm --dry-run` prints, compared whole with files in golden/.

Accept a change that is meant, and read what git then shows:

    python -m tests.launch.golden
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import yaml

from reasoning_pipeline.hardware.profile import PROFILES_FOLDER
from tests.launch.conftest import PROJECT, RECIPE, launch

FOLDER = Path(__file__).resolve().parent / "golden"
EXAMPLES = Path(__file__).resolve().parent / "profiles"
ACCEPT = "if the change is meant, `python -m tests.launch.golden` accepts it"


def profiles() -> list[Path]:
    """Every profile that can be submitted: those that ship, and examples of what profiles may say."""
    return [
        path
        for path in (*sorted(PROFILES_FOLDER.glob("*.yaml")), *sorted(EXAMPLES.glob("*.yaml")))
        if "slurm" in yaml.safe_load(path.read_text())
    ]


def cases() -> dict[str, tuple[Path, tuple[str, ...]]]:
    """Golden file -> profile and further arguments."""
    found: dict[str, tuple[Path, tuple[str, ...]]] = {
        path.stem if path.parent == PROFILES_FOLDER else f"example-{path.stem}": (path, ()) for path in profiles()
    }
    found["example-seeds"] = (EXAMPLES / "one_gpu.yaml", ("--seeds", "0,1,2", "--partition", "other"))
    return found


def printed(profile: Path, arguments: tuple[str, ...]) -> str:
    """The dry run of a small recipe, without what differs between machines, and without fingerprints."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "small.yaml"
        evaluate = {"suites": ["arithmetic"], "samples": 1, "max_tokens": 24, "of": ["rl"]}
        batch = {"problems_per_step": 16, "group_size": 8}  # 128 rollouts divide over every profile's processes
        steps = {**RECIPE["steps"], "rl": RECIPE["steps"]["rl"] | batch}
        values = {"name": "small", **RECIPE, "steps": steps, "evaluate": evaluate}
        recipe.write_text(yaml.safe_dump(values, sort_keys=False))
        status, text = launch(
            "slurm", recipe, "--hardware", profile, "--root", f"{folder}/runs", "--dry-run", "--verbose", *arguments
        )
    assert status == 0, text
    for found, shown in (
        (str(Path(folder).resolve()), "FOLDER"),
        (sys.executable, "PYTHON"),
        (str(PROJECT), "PROJECT"),
    ):
        text = text.replace(found, shown)
    return re.sub(r"-[0-9a-f]{16}\b", "-FINGERPRINT", text)


if __name__ == "__main__":
    for leftover in FOLDER.glob("*.txt"):
        leftover.unlink()
    for name, (path, further) in cases().items():
        (FOLDER / f"{name}.txt").write_text(printed(path, further))
        print(f"wrote {FOLDER / name}.txt")
