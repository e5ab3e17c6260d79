"""Data sets and suites of the hub are read at their commit or not at all, with the real `datasets`."""

from __future__ import annotations

import json

import pytest

from tests.hub.conftest import MODEL, World
from tests.hub.standin import Hub

pytestmark = pytest.mark.slow  # `datasets` reads its environment once: every question is a process

CARD = "---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: train, path: data/train.jsonl}\n---\n# Sums\n"
YOUNGEST = "import datasets; datasets.load_dataset('me/sums', split='train')"
QUESTIONS = """
import sys
from pathlib import Path
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
step = make_plan(load_recipe(Path(sys.argv[1])), Path(sys.argv[2])).step("rl")
print(step.fingerprint, sorted(problem.question for problem in step.problems()))
"""
READ = """
import sys
from reasoning_pipeline.data.rows import hub_rows
print(*hub_rows("me/sums", None, "train", sys.argv[1]))
"""


def rows(*questions: str) -> str:
    return "".join(json.dumps({"question": question, "answer": "4"}) + "\n" for question in questions)


def planned(world: World, **environment: str) -> str:
    """Fingerprint and questions of the step."""
    done = world.call("-c", QUESTIONS, world.path, world.root, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_the_rows_of_a_data_set_stay_while_its_branch_moves(world: World, hub: Hub):
    hub.commit("models", "me/tiny", MODEL)
    first = hub.commit("datasets", "me/sums", {"README.md": CARD, "data/train.jsonl": rows("2+2?", "1+3?")})
    world.recipe(source="hub", id="me/sums")
    done = world.call("-m", "launch", "prefetch", world.path, "--root", world.root)
    assert f"2 problems at {first[:12]}" in done.stdout
    before = planned(world)
    assert "['1+3?', '2+2?']" in before
    second = hub.commit("datasets", "me/sums", {"data/train.jsonl": rows("3+1?")})
    assert planned(world) == before
    assert world.call("-c", YOUNGEST).returncode == 0  # what is youngest in the cache is another revision now
    assert planned(world) == before == planned(world, HF_HUB_OFFLINE="1")
    plan = ("-m", "reasoning_pipeline", "plan", world.path, "--root", world.root)
    assert f"me/sums: main moved from {first[:12]} to {second[:12]}" in world.call(*plan).stdout
    assert f"me/sums: from {first[:12]} to {second[:12]}" in world.call(*plan, "--follow-hub").stdout
    assert "['3+1?']" in planned(world, HF_HUB_OFFLINE="1")


def test_a_revision_that_is_not_here_is_not_replaced_by_one_that_is(world: World, hub: Hub):
    first = hub.commit("datasets", "me/sums", {"README.md": CARD, "data/train.jsonl": rows("2+2?")})
    hub.commit("datasets", "me/sums", {"data/train.jsonl": rows("3+1?")})
    assert world.call("-c", YOUNGEST).returncode == 0
    done = world.call("-c", READ, first, HF_HUB_OFFLINE="1")
    assert "3+1?" not in done.stdout and f"not on this machine at commit {first[:12]}" in done.stderr
    assert "2+2?" in world.call("-c", READ, first).stdout  # where there is network, it is fetched
    asked = len(hub.asked)
    assert "2+2?" in world.call("-c", READ, first, HF_HUB_OFFLINE="1").stdout
    assert "2+2?" in world.call("-c", READ, first).stdout and len(hub.asked) == asked  # and then asked for no more


def test_where_steps_stand_is_told_without_asking_the_hub(world: World, hub: Hub):
    hub.commit("models", "me/tiny", MODEL)
    hub.commit("datasets", "me/sums", {"README.md": CARD, "data/train.jsonl": rows("2+2?")})
    world.recipe(source="hub", id="me/sums")
    options = (world.path, "--root", world.root)
    assert world.call("-m", "launch", "prefetch", *options).returncode == 0
    (world.root / "mine" / "hub.json").unlink()  # which commit was meant is not known: `main` would be asked for
    asked = len(hub.asked)
    done = world.call("-m", "launch", "status", *options)
    assert (done.returncode, len(hub.asked)) == (0, asked), done.stderr
    assert "rl" in done.stdout and "not submitted" in done.stdout and "was not read" not in done.stdout
    world.machine("another")
    done = world.call("-m", "launch", "status", *options)
    assert "data.problems was not read" in done.stdout and len(hub.asked) == asked


@pytest.mark.parametrize(("name", "said"), [("me/gated", "accept the licence"), ("me/nothing", "check the spelling")])
def test_a_data_set_that_cannot_be_had_says_why(world: World, hub: Hub, name: str, said: str):
    hub.commit("models", "me/tiny", MODEL)
    hub.commit("datasets", "me/gated", {"README.md": CARD, "data/train.jsonl": rows("2+2?")})
    hub.repositories["datasets", "me/gated"].gated = True
    world.recipe(source="hub", id=name)
    done = world.call("-m", "launch", "prefetch", world.path, "--root", world.root)
    assert done.returncode == 1 and f"error: data {name}" in done.stderr and said in done.stderr
