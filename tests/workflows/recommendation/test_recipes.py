"""What recipes may say: a folder of data, rankings behind the checkpoints, arms; and that the commands know them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.hardware.profile import load_profile
from reasoning_pipeline.plan.graph import Plan
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.run.uses import use_of
from tests.bench import PROJECT, python, write_files
from tests.run.conftest import SMOKE, Run
from tests.workflows.recommendation.small import catalogue

FOOD = PROJECT / "recipes" / "food_kitchen.yaml"
WORLD = PROJECT / "recipes" / "recommendation.yaml"


def folder(tmp_path: Path) -> Path:
    items = "".join(json.dumps(vars(item)) + "\n" for item in catalogue())
    write_files(tmp_path / "shops", {"items.jsonl": items, "train_overlap.txt": "1\tA0,B0,A1,B1\n"})
    write_files(tmp_path / "encoder", {"config.json": "{}", "tokenizer.json": "{}"})
    return tmp_path / "shops"


def planned(tmp_path: Path, *overrides: str) -> Plan:
    """The real histories' recipe, with titles as words: no encoder is here."""
    words = ["steps.items={stage: embed_items, histories: 'step:histories', by: words}"]
    words.append(
        "steps.profiles={stage: profile_users, histories: 'step:augmented', items: 'step:items', by: words,"
        " summariser: words}"
    )
    return make_plan(load_recipe(FOOD, [*words, *overrides]), tmp_path / "runs")


def test_a_folder_of_data_is_found_and_counts_by_what_it_holds(tmp_path: Path):
    shops = folder(tmp_path)
    step = planned(tmp_path, f"data.path={shops}").step("histories")
    assert set(step.identity["files"]["files"]) == {"items", "overlap"}
    (tmp_path / "moved").mkdir()
    moved = shops.rename(tmp_path / "moved" / "shops")
    assert planned(tmp_path, f"data.path={moved}").step("histories").fingerprint == step.fingerprint
    with (moved / "train_overlap.txt").open("a") as file:
        file.write("2\tA3,B3,A4\n")
    assert planned(tmp_path, f"data.path={moved}").step("histories").fingerprint != step.fingerprint


def test_a_folder_that_is_not_there_or_holds_no_items_is_said_at_once(tmp_path: Path):
    with pytest.raises(RecipeError, match=r"data\.path: no folder '/nowhere'"):
        planned(tmp_path, "data.path=/nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match=r"data\.path: .*empty' has no items\.jsonl, which steps\.histories reads"):
        planned(tmp_path, f"data.path={tmp_path / 'empty'}")


def test_data_sets_of_problems_are_still_the_cores_own(tmp_path: Path):
    with pytest.raises(RecipeError) as error:
        load_recipe(WORLD, ["data={path: {source: arithmetic}}"])
    assert "data.path" in str(error.value) and "needs `count`" in str(error.value)


def test_every_arms_outcome_is_ranked_once_and_of_the_main_arm_what_is_asked_for(tmp_path: Path):
    plan = make_plan(load_recipe(WORLD), tmp_path)
    assert {arm.name for arm in plan.arms} >= {
        *("popularity", "title_cosine", "ids", "titles", "plain", "raw_augmentation", "filtered"),
        *("no_profiles", "untrained_sum", "released", "main"),
    }
    for arm in plan.arms:
        assert arm.evaluation is not None and plan.step(arm.evaluation).config.stage == "rank_items"
    ranked = [step for step in plan.steps if step.config.stage == "rank_items"]
    assert len({step.fingerprint for step in ranked}) == len(ranked)
    assert (
        plan.step("tuned.rank").config.seed == 0 == make_plan(load_recipe(WORLD), tmp_path, [3]).steps[-1].config.seed
    )


def test_a_ranking_of_what_is_no_checkpoint_is_refused():
    with pytest.raises(
        RecipeError, match=r"ranking\.of: 'items' publishes item_table, and only checkpoints are ranked"
    ):
        load_recipe(WORLD, ["ranking.of=[items]"])
    with pytest.raises(RecipeError, match=r"steps\.mixed\.profiles: 'step:items' publishes item_table, but profiles"):
        load_recipe(WORLD, ["steps.mixed.profiles=step:items"])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("steps.augmented.proposes=llm", "`proposes: llm` needs `writer`"),
        ("steps.items.by=model", "`by: model` needs `model`"),
        ("steps.histories.split=held_out", "names no users to hold out"),
    ],
)
def test_fields_that_do_not_go_together_are_said_when_the_recipe_is_read(override: str, said: str):
    with pytest.raises(RecipeError, match=said):
        load_recipe(WORLD, [override])


def test_a_language_model_is_an_input_only_where_one_is_asked(tmp_path: Path):
    recipe = load_recipe(PROJECT / "recipes" / "food_kitchen_llm.yaml")
    assert ("writer", "Qwen/Qwen3-8B", "checkpoint") in list(recipe.references("augmented"))
    assert recipe.steps["augmented"].generator == "writer" and recipe.steps["augmented"].lengths() == (768, 256)
    plain = load_recipe(FOOD)
    assert [field for field, _, _ in plain.references("augmented")] == ["histories", "items"]
    assert plain.steps["augmented"].generator is None
    assert load_profile("one_gpu_80gb").name == "one_gpu_80gb"


@pytest.mark.slow
def test_the_commands_score_and_refuse_a_recommender(smoke_root: Path, tmp_path: Path):
    recipe = SMOKE / "rank_items.yaml"
    status, output = Run("run", recipe, "--root", smoke_root, "--hardware", "cpu_side_by_side", "--arms").finish()
    assert status == 0, output
    page = (smoke_root / "smoke-shops" / "report.html").read_text(encoding="utf-8")
    assert "A few users" in page and "Inserted:" in page and "Profile: A" in page and "without (arm plain)" in page
    table = (smoke_root / "smoke-shops" / "report_ranking.csv").read_text(encoding="utf-8")
    assert "popularity,B,ndcg@k,main" in table and "full,all,hr@k,plain" in table
    artifact = next((smoke_root / "registry").glob("tune_domains-*"))
    assert use_of(artifact) is not None
    options = ["--registry", str(smoke_root), "--out", str(tmp_path / "out")]
    # 64 items of B less those taken are fewer than a hundred: said, not guessed.
    refused = python("-m", "evals", "--suite", "ranking", "smoke-shops/tuned", *options)
    assert refused.returncode == 2 and "100 negatives are asked" in refused.stderr
    mixed = python("-m", "evals", "smoke-shops/tuned", "--suite", "ranking", "--suite", "aime24", *options)
    assert mixed.returncode == 2 and "asked by itself" in mixed.stderr
