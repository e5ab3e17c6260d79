"""A checkpoint goes to the hub with its model card, and comes back as the same model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.hub.conftest import World
from tests.hub.standin import TOKEN, Hub


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """As little of a model as a registry takes."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text("{}")
    save_file({"weights": np.arange(1000, dtype=np.float32)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def checkpoint(world: World, model: Path) -> str:
    """A model in the world's registry."""
    assert "recipes can say" in world.pipeline("import", model, "--name", "tiny", root=False)
    return "tiny"


def test_what_is_pushed_comes_back_with_its_card(world: World, hub: Hub, checkpoint: str, model: Path):
    world.patch.setenv("HF_TOKEN", TOKEN)
    world.patch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    said = world.pipeline("push", checkpoint, "me/made", root=False)
    assert f"{hub.address}/me/made" in said
    repository = hub.repositories["models", "me/made"]
    files = repository.commits[repository.names["main"]]
    card = files["README.md"].decode()
    assert card.startswith("---\n") and "imported/tiny" in repository.messages[0] and "tiny" in card
    assert "record.json" not in files and "probe.json" not in files
    assert any(line.endswith("/lfs/objects/batch/verify") for line in hub.asked), "the upload was checked"
    world.recipe("me/made")
    assert "GiB in" in world.prefetch()
    back = world.facts()["folder"]
    for path in model.iterdir():
        assert (back / path.name).read_bytes() == path.read_bytes()


def test_a_second_push_of_the_same_adds_nothing_new(world: World, hub: Hub, checkpoint: str):
    world.patch.setenv("HF_TOKEN", TOKEN)
    world.patch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    for _ in range(2):
        world.pipeline("push", checkpoint, "me/made", root=False)
    trees = list(hub.repositories["models", "me/made"].commits.values())
    assert all(tree == trees[0] for tree in trees)


@pytest.mark.parametrize(("token", "remedy"), [(None, "log in with"), ("hf_other", "a token that may write to")])
def test_who_may_not_write_is_told_what_to_do(world: World, hub: Hub, checkpoint: str, token: str | None, remedy: str):
    if token is not None:
        world.patch.setenv("HF_TOKEN", token)
    said = world.pipeline("push", checkpoint, "me/made", root=False)
    assert "could not be pushed" in said and remedy in said
    assert ("models", "me/made") not in hub.repositories
