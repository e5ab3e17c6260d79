"""Arms and seeds on the page: means with intervals, differences to the main arm, labels, cost."""

import csv
from collections import defaultdict
from itertools import pairwise

import pytest

from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.report import arms_table, write_arms_csv, write_report
from reasoning_pipeline.report.arms.charts import arm_section
from reasoning_pipeline.report.arms.outcomes import arm_results, cost_of, made_by, total_cost
from reasoning_pipeline.report.arms.scatter import NAME_GAP, _spread
from tests.report.test_page import Reader
from tests.report.tiny_registry import RECIPE, publish

ARMS = """
outcome: polish
arms:
  no_warmup: {description: Stage 2a left out, lacks: Stage 2a, published: half_opd_stage3, drop: warmup}
  replay: {curve: replays, steps: {polish: {spends: first, replay: true}}}
"""

RIGHT = {"polish": 7, "polish@1": 6, "no_warmup.polish": 5, "no_warmup.polish@1": 4, "replay.polish": 7}
"""Of eight samples (four problems, twice asked), how many are right; four in every other evaluation."""


def arms_plan(root, *, without=()):
    """Two seeds; every step published but those named."""
    path = root / "tiny.yaml"
    path.write_text(RECIPE + ARMS, encoding="utf-8")
    plan = make_plan(load_recipe(path), root / "runs", (0, 1))
    for step in plan.steps:
        if step.name not in without:
            publish(plan, step, text=r"8;6;\boxed{6}", right=defaultdict(lambda: 4, RIGHT))
    return plan.refreshed()


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return arms_plan(tmp_path_factory.mktemp("arms"))


def test_an_arm_is_the_mean_of_its_outcomes_over_seeds(plan):
    main, no_warmup, replay = arm_results(plan)
    assert [result.arm for result in (main, no_warmup, replay)] == ["main", "no_warmup", "replay"]
    assert main.accuracy["arithmetic"].by_seed == (7 / 8, 6 / 8)
    assert main.accuracy["arithmetic"].mean == pytest.approx(13 / 16)
    assert no_warmup.difference["arithmetic"].by_seed == pytest.approx((-2 / 8, -2 / 8))
    assert main.difference == {} and set(no_warmup.p_holm) == {"arithmetic"}
    assert (main.labels, main.uses) == (16, 16)
    assert (replay.labels, replay.uses) == (12, 24)


def test_p_values_are_corrected_for_the_number_of_arms(plan):
    _, no_warmup, replay = arm_results(plan)
    raw = sorted(result.difference["arithmetic"].p for result in (no_warmup, replay))
    corrected = sorted(result.p_holm["arithmetic"] for result in (no_warmup, replay))
    assert corrected[0] == pytest.approx(min(1.0, 2 * raw[0]))


def test_a_shared_step_counts_for_each_arm_and_once_in_the_total(plan):
    # 6 s a step: main has 7 behind its outcome (teacher and student base, RL, rollouts, warmup, distill, polish),
    # no_warmup has 5 (no warmup, and nobody reads the rollouts), replay 7
    costs = {arm.name: cost_of(made_by(plan, arm)).wall_hours * 3600 for arm in plan.arms if arm.seed == 0}
    assert costs == {"main": pytest.approx(42), "no_warmup": pytest.approx(30), "replay": pytest.approx(42)}
    # under each seed the main arm's eight (direct too), two of no_warmup, one of replay
    assert total_cost(plan).wall_hours * 3600 == pytest.approx(2 * (8 + 2 + 1) * 6)


def test_the_page_compares_arms_and_shows_the_main_arm_step_by_step(plan, tmp_path):
    read = Reader(write_report(plan, tmp_path / "arms.html").read_text(encoding="utf-8"))
    assert "Every arm" in read.text and "Stage 2a left out" in read.text
    assert "of the main arm, seed 0" in read.text
    assert "used 24 times" in read.text and "81.2" in read.text  # 13 of 16
    assert "Sharing equal steps:" in read.text
    assert "polish@1" not in read.text and "Not finished" not in read.text


def test_what_is_missing_is_named_and_not_counted_as_zero(tmp_path):
    plan = arms_plan(tmp_path, without=("no_warmup.polish@1", "no_warmup.polish@1.evaluate", "replay.polish.evaluate"))
    _, no_warmup, replay = arm_results(plan)
    assert (no_warmup.seeds, no_warmup.missing) == ((0,), (1,))
    assert (replay.seeds, replay.missing) == ((1,), (0,))
    assert no_warmup.accuracy["arithmetic"].mean == 5 / 8  # its only seed
    assert no_warmup.difference["arithmetic"].mean == pytest.approx(-2 / 8)  # against the main arm's same seed
    read = Reader(write_report(plan, tmp_path / "arms.html").read_text(encoding="utf-8"))
    assert "seeds missing: 1" in read.text and "3 of" in read.text


def test_nothing_scored_yet_is_a_page_too(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE + ARMS, encoding="utf-8")
    plan = make_plan(load_recipe(path), tmp_path / "runs", (0, 1))
    read = Reader(write_report(plan, tmp_path / "arms.html").read_text(encoding="utf-8"))
    assert "not scored yet" in read.text and f"and {len(plan.steps) - 20} more" in read.text
    assert arm_section(plan).label_charts == ()
    assert arms_table(plan).row_count == 3


def test_the_csv_has_a_row_per_arm_and_suite(plan, tmp_path):
    with write_arms_csv(plan, tmp_path / "arms.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["arm"], row["suite"], row["seeds"]) for row in rows] == [
        (arm, "arithmetic", "0 1") for arm in ("main", "no_warmup", "replay")
    ]
    assert float(rows[0]["mean"]) == pytest.approx(13 / 16) and rows[0]["difference"] == ""
    assert float(rows[1]["difference"]) == pytest.approx(-0.25) and rows[1]["by_seed"] == "0.625 0.5"
    marks = [(row["lacks"], row["published"], row["curve"]) for row in rows]
    assert marks == [("", "", ""), ("Stage 2a", "half_opd_stage3", ""), ("", "", "replays")]
    # seven steps lead to polish, two of them make base models; 0.001 h each; the student began at 4 of 8, 13/16 now
    assert float(rows[0]["cpu_hours"]) == pytest.approx(0.007) and rows[0]["mean_tokens"] == "9.0"
    assert float(rows[0]["gain_per_cpu_minute"]) == pytest.approx((13 / 16 - 4 / 8) / (0.005 * 60))
    assert float(rows[0]["gain_per_100_labels"]) == pytest.approx((13 / 16 - 4 / 8) / 16 * 100)


def test_names_beside_one_column_of_points_stand_apart_inside_the_drawing():
    placed = _spread([2.0, 3.0, 4.0])
    assert placed == [2.0, 2.0 + NAME_GAP, 2.0 + 2 * NAME_GAP]
    low = _spread([97.0, 98.0, 99.0])
    assert low[-1] == 100 and all(b - a == pytest.approx(NAME_GAP) for a, b in pairwise(low))


def test_an_arm_is_compared_over_the_seeds_that_the_main_arm_has_too(tmp_path):
    main, no_warmup, replay = arm_results(arms_plan(tmp_path, without=("polish@1.evaluate",)))
    assert (main.seeds, no_warmup.seeds) == ((0,), (0, 1))
    assert no_warmup.accuracy["arithmetic"].by_seed == (5 / 8, 4 / 8)
    assert no_warmup.difference["arithmetic"].by_seed == pytest.approx((-2 / 8,))
    assert replay.difference["arithmetic"].by_seed == (0.0,)
