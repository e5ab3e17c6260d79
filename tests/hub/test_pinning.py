"""Exactly the planned commit is loaded: what a branch meant once, a recipe keeps."""

from __future__ import annotations

import pytest

from reasoning_pipeline.base.fingerprint import digest
from reasoning_pipeline.models.pins import Pins
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
from tests.hub.conftest import CONFIG, MODEL, World, weights
from tests.hub.standin import Hub


def test_a_branch_that_moves_does_not_move_the_recipe(world: World, hub: Hub):
    first = hub.commit("models", "me/tiny", MODEL)
    assert "GiB in" in world.prefetch()
    before = world.facts()
    assert before["outside"] == {"model": "me/tiny", "commit": first} and before["folder"].name == first
    assert world.lock["models"]["me/tiny"]["commit"] == first and world.lock["models"]["me/tiny"]["revision"] == "main"

    second = hub.commit("models", "me/tiny", {"model.safetensors": weights(2.0)})
    assert world.facts() == before  # the hub has moved
    world.somebody_else_fetches()  # and so has main in this machine's cache
    assert world.facts() == before
    world.offline()
    assert world.facts() == before
    said = world.pipeline("plan")
    assert f"me/tiny: main moved from {first[:12]} to {second[:12]} since " in said
    assert f"(model.safetensors differ); this recipe stays at {first[:12]}; to follow: " in said
    assert f"`python -m reasoning_pipeline plan {world.path} --root {world.root} " in said and "--follow-hub`" in said


def test_who_follows_gets_another_identity_and_is_told_what_differs(world: World, hub: Hub):
    first = hub.commit("models", "me/tiny", MODEL)
    world.prefetch()
    before = world.facts()
    second = hub.commit("models", "me/tiny", {"model.safetensors": weights(2.0)})
    assert f"me/tiny: from {first[:12]} to {second[:12]} (model.safetensors differ)" in world.pipeline(
        "plan", "--follow-hub"
    )
    assert world.lock["models"]["me/tiny"]["before"] == [first]
    after = world.facts()
    assert after["outside"]["commit"] == second == after["folder"].name
    assert after["fingerprint"] != before["fingerprint"]
    assert (after["folder"] / "model.safetensors").read_bytes() == weights(2.0)


@pytest.mark.parametrize("offline", [False, True])
def test_an_edited_readme_repeats_nothing_even_for_who_follows(world: World, hub: Hub, offline: bool):
    first = hub.commit("models", "me/tiny", MODEL)
    world.prefetch()
    before = world.facts()
    second = hub.commit("models", "me/tiny", {"README.md": "a better description"})
    world.somebody_else_fetches()
    world.offline(offline)
    said = world.pipeline("plan", "--follow-hub")
    assert f"main moved from {first[:12]} to {second[:12]}" in said and "nothing changes" in said
    assert world.facts() == before
    assert "moved" not in world.pipeline("plan")  # told once
    assert world.lock["models"]["me/tiny"]["same"] == [second]


def test_a_cache_that_was_there_before_means_what_it_meant(world: World, hub: Hub):
    commit = hub.commit("models", "me/tiny", MODEL)
    world.somebody_else_fetches()
    # as before there was a file to keep it in: the name and the commit of the cache's main
    assert world.facts()["outside"] == {"model": "me/tiny", "commit": commit}
    assert make_plan(load_recipe(world.path), world.root).step("rl").input("policy").fingerprint == digest(
        ["hub", "me/tiny", commit]
    )


def test_a_commit_stays_as_written_and_a_branch_is_kept_by_its_name(world: World, hub: Hub):
    first = hub.commit("models", "me/tiny", MODEL)
    old = hub.commit("models", "me/tiny", {"config.json": CONFIG + " "}, branch="old")
    world.recipe(f"me/tiny@{first}")
    world.prefetch()
    assert world.facts()["outside"]["commit"] == first
    assert not (world.root / "mine" / "hub.json").exists()
    world.recipe("me/tiny@old")
    world.prefetch()
    hub.commit("models", "me/tiny", {"config.json": CONFIG + "  "}, branch="old")
    assert world.facts()["outside"]["commit"] == old == world.lock["models"]["me/tiny@old"]["commit"]


def test_what_was_kept_is_fetched_again_where_the_cache_is_gone(world: World, hub: Hub):
    first = hub.commit("models", "me/tiny", MODEL)
    world.prefetch()
    hub.commit("models", "me/tiny", {"model.safetensors": weights(2.0)})
    world.machine("another")
    assert first in world.prefetch()
    world.offline()
    assert world.facts()["folder"].name == first


def test_a_file_of_commits_that_cannot_be_read_is_no_reason_to_move(world: World, hub: Hub):
    hub.commit("models", "me/tiny", MODEL)
    world.prefetch()
    (world.root / "mine" / "hub.json").write_text('{"models": {"me/tiny": {"commit": "main"}}}')
    said = world.pipeline("plan")
    assert "hub.json: cannot be read" in said and "mend it, or remove it" in said


def test_two_first_plans_at_once_agree_afterwards_and_each_loads_what_it_planned(world: World, hub: Hub):
    first = hub.commit("models", "me/tiny", MODEL)
    world.somebody_else_fetches()
    one, two = Pins(world.root / "mine"), Pins(world.root / "mine")
    assert one.model("me/tiny") == f"me/tiny@{first}"
    second = hub.commit("models", "me/tiny", {"config.json": CONFIG + " "})
    world.somebody_else_fetches()
    assert two.model("me/tiny") == f"me/tiny@{second}"
    one.save()
    two.save()
    assert two.model("me/tiny") == f"me/tiny@{second}"
    assert Pins(world.root / "mine").model("me/tiny") == f"me/tiny@{first}"
