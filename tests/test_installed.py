"""Installed as a package, without the checkout: what it reads beside its code is inside it, and nothing collides."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench import PROJECT, RECIPE, write_files
from tests.conftest import make_tiny_model
from tests.docs.test_own import tiny_llama, written


def tiny_qwen(folder: Path) -> None:
    make_tiny_model(folder, seed=0)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel in it, and what this one has behind it in the search path."""
    folder = tmp_path_factory.mktemp("installed")
    source, environment = folder / "source", folder / "environment"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, tracked.split("\0")):
        if (PROJECT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, source / name)
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    own = Path(subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
                              capture_output=True, text=True, check=True).stdout.strip())  # fmt: skip
    # A plain line: the checkout's own entry there, a file of this kind too, is not followed.
    (own / "behind.pth").write_text(sysconfig.get_path("purelib") + "\n")
    options = ["--no-deps", "--no-build-isolation", "--ignore-installed", "--no-index"]
    pip(python, "install", *options, str(source))
    shutil.rmtree(source)
    return environment


def pip(python: Path, *arguments: str) -> str:
    command = [python, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, env=clean(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A console command, from a folder that is not the checkout."""
    command = [installed / "bin" / words[0], *words[1:]]
    environment = clean() | {"COLUMNS": "160"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("package", ["evals", "launch"])
def test_what_is_installed_under_another_name_imports_its_own_modules_relatively(package: str) -> None:
    absolute = re.compile(rf"^\s*(from|import) {package}\b", re.MULTILINE)
    assert [file.name for file in (PROJECT / package).glob("*.py") if absolute.search(file.read_text())] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "reasoning-pipeline plan small.yaml --hardware node_8x80gb --verbose",
        "reasoning-pipeline plan small.yaml",
        "reasoning-pipeline plan arithmetic",
        "reasoning-pipeline plan smoke/extra_rl",
        "reasoning-pipeline stages",
        "reasoning-pipeline recipes",
        "reasoning-pipeline --version",
        "reasoning-evals --help",
        "reasoning-evals compare --help",
        "reasoning-evals --version",
        "reasoning-launch --version",
        "reasoning-launch slurm small.yaml --hardware two_nodes --dry-run",
    ],
)
def test_an_empty_folder_and_a_recipe_are_enough(installed: Path, tmp_path: Path, words: str) -> None:
    write_files(tmp_path, {"small.yaml": RECIPE})
    done = run(installed, tmp_path, *words.split())
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_what_is_installed_is_inside_the_package_and_nothing_general_is_beside_it(installed: Path) -> None:
    (own,) = installed.glob("lib/python*/site-packages")
    top = {path.name for path in own.iterdir()} - {"behind.pth", "__pycache__"}
    assert top - {name for name in top if name.startswith("reasoning_pipeline-")} == {"reasoning_pipeline"}
    code = (
        "import reasoning_pipeline, reasoning_pipeline.hardware.profile as p;"
        "import reasoning_pipeline.hardware.launcher as l; from reasoning_pipeline.report.build import TEMPLATES;"
        "from reasoning_pipeline.report.parts import parts;"
        "from reasoning_pipeline.data.suites.spec import suite_names; from importlib.util import find_spec;"
        "print(reasoning_pipeline.__file__); print(*sorted(f.stem for f in p.PROFILES_FOLDER.glob('*.yaml')));"
        "print(*sorted(f.stem for f in l.ACCELERATE_CONFIGS.glob('*.yaml'))); print(*suite_names());"
        "print(len([*TEMPLATES.glob('*.j2')]), *(len([*part.templates.glob('*.j2')]) for part in parts()));"
        "print(find_spec('evals'), find_spec('launch'), find_spec('recipes'))"
    )
    done = subprocess.run(
        [installed / "bin" / "python", "-P", "-c", code], env=clean(), capture_output=True, text=True, check=True
    )
    where, profiles, launchers, suites, templates, general = done.stdout.splitlines()
    assert where.startswith(str(own))
    assert {"cpu", "node_8x80gb", "two_nodes"} <= set(profiles.split())
    assert launchers.split() == ["ddp", "fsdp2", "zero2", "zero3"]
    assert {"aime24", "math500", "arithmetic"} <= set(suites.split())
    assert all(int(count) > 0 for count in templates.split())
    assert general == "None None None"


@pytest.mark.slow
def test_the_extras_name_what_training_and_serving_need(installed: Path) -> None:
    """pip itself resolves them, against what is installed here and without an index."""
    said = pip(installed / "bin" / "python", "install", "--dry-run", "--no-index", "reasoning-pipeline[train,serve]")
    assert "Would install" not in said
    assert all(f"Requirement already satisfied: {name}" in said for name in ("torch", "trl", "vllm", "math-verify"))


@pytest.mark.slow
def test_init_copies_a_recipe_with_what_it_extends_and_never_over_a_file(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "reasoning-pipeline", "init", "smoke/extra_rl", "mine")
    assert done.returncode == 0, done.stderr
    assert f"reasoning-pipeline run {Path('mine/smoke/extra_rl.yaml')}" in done.stdout
    assert run(installed, tmp_path, "reasoning-pipeline", "plan", "mine/smoke/extra_rl.yaml").returncode == 0
    again = run(installed, tmp_path, "reasoning-pipeline", "init", "smoke/extra_rl", "mine")
    assert again.returncode == 2 and "is there already" in again.stderr


@pytest.mark.slow
def test_a_recipe_that_ships_runs_by_its_name(installed: Path, tmp_path: Path) -> None:
    """The demo's first step and its evaluation, made short: both programs, from an empty folder."""
    short = ("steps.teacher_base.clean_steps=5", "steps.teacher_base.stop_accuracy=null", "evaluate.limit=4")
    changes = [word for value in (*short, "evaluate.samples=1") for word in ("--set", value)]
    words = ["arithmetic", "--hardware", "cpu_transformers", "--until", "teacher_base.evaluate", *changes]
    done = run(installed, tmp_path, "reasoning-pipeline", "run", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[2/2] teacher_base.evaluate" in done.stdout
    assert (tmp_path / "runs" / "arithmetic" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("make_model", [tiny_qwen, tiny_llama])
def test_a_stranger_s_path_by_the_tutorial_s_text_alone(
    installed: Path, tmp_path: Path, make_model: Callable[[Path], None]
) -> None:
    """docs/own_data.md as it is written: init, doctor, run, report, evals; then a reward that was changed."""
    commands = [shlex.split(command) for command in written("own_data.md", tmp_path)]
    assert [words[1] for words in commands] == ["init", "doctor", "run", "report", "tuned"]

    def said(words: list[str]) -> str:
        done = run(installed, tmp_path, *words)
        assert done.returncode == 0, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    init, doctor, train, report, evals = commands
    said(init)
    make_model(tmp_path / "tutorial" / "model")
    said(doctor)
    said(train)
    said(report)
    assert "held_out" in (tmp_path / "runs/mine/report.html").read_text(encoding="utf-8")
    (record,) = (tmp_path / "runs/registry").glob("evaluate-*/record.json")
    assert list(json.loads(record.read_text())["result"]["suites"]) == ["held_out"]
    assert list((tmp_path / "runs/tracking/tensorboard").rglob("events.out.tfevents.*"))
    assert said(evals).startswith("held_out  ")
    assert "up to date" in said(train)
    reward = tmp_path / "tutorial" / "my_rewards.py"
    reward.write_text(reward.read_text().replace("0.1", "0.2"))
    assert "my_rewards" in said(["reasoning-pipeline", "why", "tutorial/mine.yaml", "tuned"])
