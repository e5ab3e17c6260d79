"""Installed as a package, without the checkout: what it reads beside its code is inside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import PROJECT, RECIPE, write_files


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel holds, and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, tracked.split("\0")):
        if (PROJECT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", folder / "site", source], check=True)
    shutil.rmtree(source)
    return folder / "site"


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["reasoning_pipeline", "plan", "small.yaml", "--hardware", "node_8x80gb", "--estimate"],
        ["reasoning_pipeline", "plan", "small.yaml"],
        ["reasoning_pipeline", "stages"],
        ["evals", "--help"],
        ["launch", "--help"],
    ],
    ids=" ".join,
)
def test_an_empty_folder_and_a_recipe_are_enough(installed: Path, tmp_path: Path, words: list[str]) -> None:
    write_files(tmp_path, {"small.yaml": RECIPE})
    environment = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "160"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_modules_are_those_of_the_package(installed: Path, tmp_path: Path) -> None:
    code = (
        "import reasoning_pipeline, reasoning_pipeline.hardware.profile as p;"
        "import reasoning_pipeline.hardware.launcher as l; from reasoning_pipeline.report.build import TEMPLATES;"
        "from reasoning_pipeline.report.parts import parts;"
        "from reasoning_pipeline.data.suites.spec import suite_names;"
        "print(reasoning_pipeline.__file__); print(*sorted(f.stem for f in p.PROFILES_FOLDER.glob('*.yaml')));"
        "print(*sorted(f.stem for f in l.ACCELERATE_CONFIGS.glob('*.yaml'))); print(*suite_names());"
        "print(len([*TEMPLATES.glob('*.j2')]), *(len([*part.templates.glob('*.j2')]) for part in parts()))"
    )
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    where, profiles, launchers, suites, templates = done.stdout.splitlines()
    assert where.startswith(str(installed))
    assert {"cpu", "node_8x80gb", "two_nodes"} <= set(profiles.split())
    assert launchers.split() == ["ddp", "fsdp2", "zero2", "zero3"]
    assert {"aime24", "math500", "arithmetic"} <= set(suites.split())
    assert all(int(count) > 0 for count in templates.split())
