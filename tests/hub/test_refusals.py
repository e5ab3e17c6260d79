"""What can go wrong between the hub and this machine, each with one message that says what to do."""

from __future__ import annotations

import pytest

from tests.hub.conftest import CONFIG, MODEL, World, in_two_files, weights
from tests.hub.standin import TOKEN, Hub

PREFETCH = "`python -m launch prefetch"


def test_a_gated_model_is_told_by_doctor_and_had_with_a_token(world: World, hub: Hub):
    hub.commit("models", "me/tiny", MODEL)
    hub.repositories["models", "me/tiny"].gated = True
    for said in (world.prefetch(), world.pipeline("doctor")):
        assert "it is gated, and this account has no access" in said and "accept the licence" in said
    world.patch.setenv("HF_TOKEN", TOKEN)
    assert "GiB in" in world.prefetch()


@pytest.mark.parametrize(
    ("policy", "what"), [("me/nothing", "knows no such name"), ("me/tiny@v9", "knows the name, but no such revision")]
)
def test_a_name_that_does_not_exist(world: World, hub: Hub, policy: str, what: str):
    hub.commit("models", "me/tiny", MODEL)
    world.recipe(policy)
    for said in (world.prefetch(), world.pipeline("doctor")):
        assert what in said and "check the spelling" in said


def test_too_many_requests(world: World, hub: Hub):
    hub.commit("models", "me/tiny", MODEL)
    hub.busy, hub.retry_after_s = 1, 7
    said = world.prefetch()
    assert "too many requests (wait 7 s)" in said and "requests with a token" in said
    assert "GiB in" in world.prefetch()


def test_a_download_that_breaks_off_once_goes_on_from_there(world: World, hub: Hub):
    many = weights(7.0)
    hub.commit("models", "me/tiny", MODEL | {"model.safetensors": many})
    world.patch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100)
    hub.breaks = 1
    assert "GiB in" in world.prefetch()
    assert any(f"/model.safetensors bytes={len(many) // 2 // 100 * 100}-" in line for line in hub.asked)
    assert (world.facts()["folder"] / "model.safetensors").read_bytes() == many


@pytest.mark.slow  # its client tries five times, a second apart
def test_a_download_that_keeps_breaking_off_is_half_a_model_until_it_is_fetched(world: World, hub: Hub):
    hub.commit("models", "me/tiny", MODEL)
    hub.breaks = 1000
    said = world.prefetch()
    assert "the download broke off" in said and "files that came whole are kept" in said
    world.offline()
    said = world.pipeline("doctor")
    assert "only part of it is on this machine: 1 file(s) are missing (model.safetensors)" in said
    world.offline(False)
    hub.breaks = 0
    assert "GiB in" in world.prefetch()
    assert hub.downloads("config.json") == 1


def test_half_a_model_is_told_before_anything_runs(world: World, hub: Hub):
    hub.commit("models", "me/tiny", {k: v for k, v in MODEL.items() if k != "model.safetensors"} | in_two_files(1.0))
    world.prefetch()
    (world.facts()["folder"] / "model-2.safetensors").unlink()
    said = world.pipeline("doctor")
    assert "only part of it is on this machine: 1 file(s) are missing (model-2.safetensors)" in said
    assert PREFETCH in said
    world.prefetch()
    assert "me/tiny is here at" in world.pipeline("doctor")


def test_doctor_says_that_main_moved_and_at_which_commit_the_recipe_stays(world: World, hub: Hub):
    first = hub.commit("models", "me/tiny", MODEL)
    world.prefetch()
    assert f"me/tiny is here at {first[:12]}" in world.pipeline("doctor")
    hub.commit("models", "me/tiny", {"config.json": CONFIG + " "})
    said = world.pipeline("doctor")  # it asks the hub, where nobody fetched anything
    assert "(config.json differ)" in said and "--follow-hub" in said and f"me/tiny is here at {first[:12]}" in said


def test_without_network_what_is_here_is_enough(world: World, hub: Hub):
    hub.commit("models", "me/tiny", MODEL)
    world.prefetch()
    before = world.facts()
    asked = len(hub.asked)
    assert world.facts() == before and len(hub.asked) == asked  # not even a question
    world.patch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")  # nobody listens there
    assert world.facts() == before
