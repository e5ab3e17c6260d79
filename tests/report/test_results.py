"""The results: before and after, chains, labels; what was not measured is absent."""

import csv
import subprocess
import sys

from rich.console import Console

from reasoning_pipeline.report import Accuracy, results_table, stage_results, write_csv
from reasoning_pipeline.report.results import change, roles, with_error
from tests.report.tiny_registry import RECIPE, finished, tiny_plan


def by_step(plan):
    return {result.step: result for result in stage_results(plan)}


def printed(plan) -> str:
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(results_table(plan))
    return console.export_text()


def test_before_is_the_evaluation_of_the_policy_it_started_from(complete):
    polish = by_step(complete)["polish"]
    assert polish.policy == "distill"
    assert (polish.before["arithmetic"].mean, polish.after["arithmetic"].mean) == (6 / 8, 7 / 8)
    assert change(polish, "arithmetic") == "75.0 → 87.5 ± 10.0"


def test_labels_are_counted_over_the_lineage(tmp_path):
    results = by_step(tiny_plan(tmp_path))
    # 16 problems: 12 in the first pool, 4 in the second
    assert {name: r.labels for name, r in results.items()} == {
        "teacher_base": 0,
        "student_base": 0,
        "teacher_rl": 12,
        "warmup": 12,
        "distill": 12,
        "polish": 16,
        "direct": 16,
    }
    assert (results["warmup"].labels_here, results["polish"].labels_here) == (0, 4)


def test_three_chains_are_told_apart_by_the_graph(tmp_path):
    chain = roles(tiny_plan(tmp_path))
    assert {step for step, role in chain.items() if role == "baseline"} == {"direct", "direct.evaluate"}
    assert chain["teacher_rl"] == chain["teacher_base"] == chain["rollouts"] == "teacher"
    assert chain["student_base"] == chain["polish"] == "student"


def test_without_a_teacher_nobody_is_a_baseline(tmp_path):
    recipe = """
name: alone
data: {problems: {source: arithmetic, count: 8, pools: {first: 1}}}
steps:
  base: {stage: pretrain}
  rl: {stage: sparse_grpo, policy: step:base, spends: first, epochs: 1}
"""
    assert set(roles(tiny_plan(tmp_path, recipe)).values()) == {"student"}


def test_what_was_not_measured_is_a_dash_and_never_zero(tmp_path):
    plan = finished(tmp_path, only=["student_base", "student_base.evaluate", "direct"])
    results = by_step(plan)
    assert results["direct"].state == "complete" and results["direct"].after == {}
    assert change(results["direct"], "arithmetic") == "12.5 → –"
    assert change(results["warmup"], "arithmetic") == "12.5 → –"
    assert change(results["polish"], "arithmetic") == "–"
    assert results["polish"].seconds is None and results["polish"].state == "missing"


def test_an_evaluation_without_a_scored_sample_has_no_accuracy():
    assert Accuracy.from_result({"accuracy": None, "unscored": 1.0}) is None


def test_an_error_of_zero_is_not_claimed():
    # 0 of 30 right is not "exactly 0": no variance was seen, from which nothing follows
    assert with_error(Accuracy(mean=0.0, se_drawn=0.0)) == "0.0"


def test_the_table_names_every_checkpoint_and_fits_80_columns(complete):
    text = printed(complete)
    for result in stage_results(complete):
        assert result.step in text
    assert "87.5 ± 10.0" not in text and "75.0 → 87.5" in text and "± 10.0" in text
    assert "…" not in text and max(map(len, text.splitlines())) <= 80


def test_a_table_of_an_empty_registry_still_prints(tmp_path):
    assert "not run yet" in printed(tiny_plan(tmp_path))


def test_csv_is_tidy_and_empty_where_nothing_was_measured(tmp_path):
    plan = finished(tmp_path, only=["teacher_base", "teacher_base.evaluate", "teacher_rl", "teacher_rl.evaluate"])
    with write_csv(plan, tmp_path / "out" / "results.csv").open(encoding="utf-8") as file:
        rows = {row["step"]: row for row in csv.DictReader(file)}
    teacher = rows["teacher_rl"]
    # samples 0 of p0..p3 come first: 2 of 8 right is (1, 1, 0, 0)/2, 7 of 8 is (2, 2, 2, 1)/2; the mean difference 5/8
    assert float(teacher["before_mean"]) == 0.25 and float(teacher["after_mean"]) == 0.875
    assert float(teacher["gain"]) == 0.625
    assert rows["polish"]["after_mean"] == rows["polish"]["gain"] == rows["polish"]["seconds"] == ""
    assert rows["polish"]["state"] == "missing"


def test_a_recipe_without_evaluations_has_a_row_per_checkpoint(tmp_path):
    plan = tiny_plan(tmp_path, RECIPE.split("evaluate:")[0])
    lines = write_csv(plan, tmp_path / "results.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 7


def test_importing_the_report_imports_nothing_heavy():
    heavy = ("torch", "matplotlib", "numpy", "rich")  # what a plan itself needs is there already
    program = f"import sys, reasoning_pipeline.report; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
