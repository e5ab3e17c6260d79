"""The published table, and our arms beside it."""

from __future__ import annotations

import csv
import json
from math import sqrt
from pathlib import Path

import pytest

from reasoning_pipeline.__main__ import main
from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.plan.graph import Plan
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.statistics.over_seeds import Crossed
from reasoning_pipeline.workflows.reasoning.compare_paper import judged, paper_lines
from reasoning_pipeline.workflows.reasoning.published import NOISE, ROWS, PublishedDifference, published_difference
from tests.bench import python
from tests.report.test_front import front_plan
from tests.report.tiny_registry import RECIPE

MAIN_ROW = "half_bridge_stage3"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("paper")


@pytest.fixture(scope="module")
def plan(folder: Path) -> Plan:
    plan = front_plan(folder)
    run = folder / "runs" / "tiny"
    run.mkdir()
    (run / "plan.json").write_text(json.dumps(plan.as_json()))
    return plan


@pytest.mark.parametrize(
    ("row", "to", "points"),
    [
        ("raw_teacher_bridge", "bridge_full", -7.8),
        ("opd_only_full", "bridge_full", -1.7),
        ("teacher_sft_full", "bridge_full", -3.3),
        ("half_replay", MAIN_ROW, -2.8),
        ("half_bridge", MAIN_ROW, -3.1),
        ("half_opd_stage3", MAIN_ROW, -0.7),
    ],
)
def test_differences_are_those_that_the_paper_speaks_of(row: str, to: str, points: float):
    found = published_difference(row, to)
    assert found is not None and found.math500 == points and found.same_protocol


def test_rows_with_other_halves_are_marked():
    found = published_difference("direct_grpo", MAIN_ROW)
    assert found == PublishedDifference(math500=-2.6, aime24=-3.9, same_protocol=False)
    assert published_difference("direct_grpo", None) is None is published_difference(None, MAIN_ROW)


def test_the_assumed_error_decides_no_row():
    """1.2 and 1.6 points are the ends of what is realistic on MATH-500."""
    for row in ROWS:
        found = published_difference(row, MAIN_ROW)
        assert found is not None
        sides = {abs(found.math500) < 1.96 * sqrt(2) * error for error in (1.2, 1.6)}
        assert sides == {found.within_noise}, row
    assert NOISE["MATH-500"] == pytest.approx(3.88, abs=0.01)


@pytest.mark.parametrize(
    ("ours", "p", "theirs", "verdict"),
    [
        (-0.5, 0.01, -7.0, "same sign, both outside noise"),
        (-0.5, 0.01, -2.8, "same sign, within noise there"),
        (-0.01, 0.4, -7.0, "same sign, within noise here"),
        (-0.01, 0.4, -2.8, "same sign, within noise here and there"),
        (0.5, 0.01, -7.0, "opposite sign, both outside noise"),
        (0.5, None, -7.0, "opposite sign, within noise here"),
        (0.0, 1.0, -7.0, "no difference here"),
    ],
)
def test_verdicts(ours: float, p: float | None, theirs: float, verdict: str):
    difference = Crossed(mean=ours, se=None, low=None, high=None, df=None, seeds=1, problems=1, by_seed=(ours,))
    assert judged(difference, p, PublishedDifference(math500=theirs, aime24=0.0, same_protocol=True)) == verdict


def test_every_arm_has_a_line_but_those_that_fill_a_curve(plan: Plan):
    lines = {line.arm: line for line in paper_lines(plan)}
    assert list(lines) == ["main", "no_warmup", "direct_arm"]
    assert lines["main"].verdict == "compared with" and lines["direct_arm"].verdict == "not in the paper"
    # 5 and 4 of eight against 7 and 6
    assert lines["no_warmup"].verdict.startswith("same sign, within noise")


def test_the_command_reads_a_folder_of_runs_or_a_recipe(plan: Plan, folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["compare-paper", str(folder / "runs" / "tiny"), "--seeds", "0,1"]) == 0
    shown = capsys.readouterr().out
    assert "half_opd_stage3" in shown and "Only sign and order can be compared" in " ".join(shown.split())
    with (folder / "runs" / "tiny" / "compare_paper.csv").open(encoding="utf-8") as file:
        rows = {row["arm"]: row for row in csv.DictReader(file)}
    assert float(rows["no_warmup"]["difference"]) == pytest.approx(-0.25)
    assert rows["no_warmup"]["paper_difference_math500"] == "-0.7"
    assert rows["no_warmup"]["source"] == "arXiv 2605.12483, table 6" and rows["direct_arm"]["published"] == ""
    other = folder / "other.csv"
    arguments = ["compare-paper", str(folder / "tiny.yaml"), "--root", str(folder / "runs"), "--out", str(other)]
    assert main([*arguments, "--seeds", "0,1"]) == 0
    assert other.read_text() == (folder / "runs" / "tiny" / "compare_paper.csv").read_text()


def test_the_command_imports_no_torch(plan: Plan, folder: Path):
    code = (
        "import sys; from reasoning_pipeline.__main__ import main; "
        f"main(['compare-paper', {str(folder / 'runs' / 'tiny')!r}]); print('torch' in sys.modules)"
    )
    done = python("-c", code)
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_a_folder_that_is_no_run_says_what_to_give(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["compare-paper", str(tmp_path)]) != 0
    assert "no plan.json here" in capsys.readouterr().err
    (tmp_path / "plan.json").write_text('{"recipe": "old"}')
    assert main(["compare-paper", str(tmp_path)]) != 0
    assert "does not say which recipe" in capsys.readouterr().err
    (tmp_path / "plan.json").write_text('{"path": "gone.yaml"}')
    assert main(["compare-paper", str(tmp_path)]) != 0
    assert "is not there any more" in capsys.readouterr().err


def test_a_recipe_without_published_rows_is_told_how(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    assert main(["compare-paper", str(tmp_path / "tiny.yaml")]) == 2
    assert "published: ROW" in capsys.readouterr().err


def test_typos_in_rows_and_searched_arms_are_found_with_everything_else(tmp_path: Path):
    arms = "published: half_bridge_stag3\nsearched: {derect: x.yaml}\noutcome: polish\n"
    arms += "arms: {direct_arm: {drop: warmup, published: half_replai}}\n"
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE + arms)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    said = str(caught.value)
    assert "published: the published table has no row 'half_bridge_stag3'; did you mean \"half_bridge_stage3\"?" in said
    assert "arms.direct_arm.published: " in said and 'did you mean "half_replay"?' in said
    assert "searched.derect: no arm is called 'derect'" in said
