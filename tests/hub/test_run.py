"""Training and evaluating by a hub name: the weights that are used are those of the commit in the record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.hub.conftest import World
from tests.hub.standin import Hub

pytestmark = pytest.mark.slow


def record(world: World) -> tuple[Path, dict[str, Any]]:
    (path,) = (world.root / "registry").glob("sparse_grpo-*/record.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return path.parent, found


def differ(one: Path, other: Path) -> float:
    """The largest difference between two models' weights."""
    from safetensors.numpy import load_file

    ours, theirs = (load_file(folder / "model.safetensors") for folder in (one, other))
    return max(float(abs(ours[name] - theirs[name]).max()) for name in ours)


def test_a_step_trains_on_the_planned_commit_while_main_moves(
    world: World, hub: Hub, tiny_model: Path, other_model: Path
):
    first = hub.model("me/tiny", tiny_model)
    run = ("-m", "reasoning_pipeline", "run", world.path, "--root", world.root, "--hardware", "cpu_transformers")
    assert world.call("-m", "launch", "prefetch", world.path, "--root", world.root).returncode == 0
    second = hub.model("me/tiny", other_model)  # between the plan's knowledge and the step
    done = world.call(*run)
    assert done.returncode == 0, done.stdout + done.stderr
    made, values = record(world)
    assert values["identity"]["outside"]["policy"]["commit"] == first
    # a learning rate of 1e-12 leaves the weights where they began
    assert differ(made, tiny_model) < 1e-5 < differ(made, other_model)
    world.somebody_else_fetches()
    done = world.call(*run, HF_HUB_OFFLINE="1")
    assert "everything is up to date" in done.stdout
    assert f"me/tiny: main moved from {first[:12]} to {second[:12]}" in " ".join(done.stdout.split())


def test_a_first_run_fetches_the_model_and_keeps_its_commit(world: World, hub: Hub, tiny_model: Path):
    commit = hub.model("me/tiny", tiny_model)
    run = ("-m", "reasoning_pipeline", "run", world.path, "--root", world.root, "--hardware", "cpu_transformers")
    done = world.call(*run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert record(world)[1]["identity"]["outside"]["policy"] == {"model": "me/tiny", "commit": commit}
    assert world.lock["models"]["me/tiny"]["commit"] == commit


def test_an_evaluation_by_hub_name_is_of_one_commit(world: World, hub: Hub, tiny_model: Path, other_model: Path):
    old = hub.model("me/tiny", tiny_model)
    hub.model("me/tiny", other_model)
    evaluate = ("-m", "evals", "--suite", "arithmetic", "--samples", "1", "--limit", "2", "--max-tokens", "4")
    fingerprints = []
    for number, name in enumerate(("me/tiny", f"me/tiny@{old}")):
        out = world.folder / f"out{number}"
        done = world.call(*evaluate, "--hardware", "cpu_transformers", name, "--out", out)
        assert done.returncode == 0, done.stderr
        (settings,) = out.rglob("settings.json")
        fingerprints.append(json.loads(settings.read_text())["fingerprint"])
    assert fingerprints[0] != fingerprints[1]
