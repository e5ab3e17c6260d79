"""The opening of the page: what each stage is worth in a sentence, what it cost, and what was searched."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from reasoning_pipeline.plan.graph import Plan
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.report import write_report
from reasoning_pipeline.report.answers import read_answers, read_means
from reasoning_pipeline.report.arms.charts import arm_section
from reasoning_pipeline.report.arms.earned import earned, headline
from reasoning_pipeline.report.arms.outcomes import ArmResult, Cost, arm_results, per_100_labels, per_cpu_minute
from reasoning_pipeline.report.arms.scatter import by_cpu_time, curve_chart
from reasoning_pipeline.report.arms.searched import searches
from reasoning_pipeline.statistics.over_seeds import Crossed
from reasoning_pipeline.workflows.reasoning.published import Published
from tests.report.test_page import Reader
from tests.report.tiny_registry import RECIPE, publish

SUITE = "arithmetic"


def difference(mean: float, low: float, high: float) -> Crossed:
    return Crossed(mean=mean, se=0.01, low=low, high=high, df=4.0, seeds=2, problems=4, by_seed=(mean, mean), p=0.01)


def arm(
    name: str, lacks: str = "", to_main: Crossed | None = None, p: float | None = 0.01, *, mean: float = 0.9, **fields
) -> ArmResult:
    return ArmResult(
        arm=name,
        description=f"about {name}",
        outcome=name,
        labels=fields.pop("labels", 1024),
        uses=1024,
        accuracy={SUITE: difference(mean, mean - 0.1, mean + 0.05)},
        difference={SUITE: to_main} if to_main is not None else {},
        p_holm={SUITE: p} if p is not None and to_main is not None else {},
        cost=None,
        seeds=(0, 1),
        missing=(),
        lacks=lacks,
        **fields,
    )


# Sentences


def test_what_an_arm_lacks_is_what_its_stage_is_worth():
    main = arm("main", sections={"published": Published("half_bridge_stage3")}, start={SUITE: 0.28})
    found = earned(
        [
            main,
            arm("no_warmup_matched", "Stage 2a", difference(0.002, -0.01, 0.014), p=0.8),
            arm(
                "no_warmup",
                "Stage 2a",
                difference(-0.081, -0.112, -0.05),
                sections={"published": Published("half_opd_stage3")},
            ),
            arm(
                "replay", "fresh labels", difference(0.03, 0.01, 0.05), sections={"published": Published("half_replay")}
            ),
            arm("direct"),
        ],
        SUITE,
    )
    assert [(stage.stage, [form.arm for form in stage.forms]) for stage in found] == [
        ("Stage 2a", ["no_warmup", "no_warmup_matched"]),  # the plain form first
        ("fresh labels", ["replay"]),
    ]
    plain, matched = found[0].forms
    assert (plain.says, plain.detail.replace("\u00a0", " ")) == ("costs 8.1 points", "[5.0, 11.2], p 0.010")
    assert plain.beside == "−0.7 / −0.9, within noise"  # 77.8 - 78.5, 22.8 - 23.7
    assert (matched.weight, matched.says) == ("unclear", "within noise")
    assert matched.detail.replace("\u00a0", " ") == "+0.2 points [−1.0, +1.4], p 0.800"
    (replay,) = found[1].forms
    assert replay.says == "gains 3.0 points" and found[1].meaning == "about replay"


def test_an_arm_without_a_score_or_a_test_claims_nothing():
    stages = earned([arm("main"), arm("a", "Stage 1"), arm("b", "Stage 1", difference(-0.5, -1, 0), p=None)], SUITE)
    unscored, untested = stages[0].forms
    assert (unscored.weight, unscored.says) == ("missing", "not scored yet")
    assert untested.weight == "unclear" and untested.detail.startswith("−50.0")


def test_the_headline_says_where_the_student_began_and_ended():
    main = arm("main", start={SUITE: 0.28})
    said = headline([main, arm("a", "Stage 1")], SUITE).replace("\u00a0", " ")
    assert said == (
        "All stages together take the student from 28.0 % to 90.0 % [80.0, 95.0] on arithmetic, with 1,024 labels. "
        "No arm is above it."
    )
    higher = [arm("b", "Stage 1", mean=0.91), arm("c", "Stage 2", mean=0.93)]
    said = headline([main, arm("a", "Stage 1", mean=0.5), *higher], SUITE).replace("\u00a0", " ")
    assert said.endswith("labels. Above it: c with 93.0 % [83.0, 98.0], b with 91.0 % [81.0, 96.0].")
    said = headline([main, arm("lr", mean=0.92)], SUITE).replace("\u00a0", " ")
    assert said == "Highest of 2 arms on arithmetic: lr with 92.0 % [82.0, 97.0]; main has 90.0 % [80.0, 95.0]."


def test_without_the_main_arm_nothing_is_said_of_stages():
    arms = [arm("no_warmup", "Stage 2a", mean=0.8), arm("direct", "the teacher", mean=0.7)]
    assert earned(arms, SUITE) == ()
    assert headline(arms, SUITE).startswith("Highest of 2 arms on arithmetic: no_warmup")


# Cost and curves


def cost(minutes: float) -> Cost:
    return Cost(wall_hours=1, cpu_hours=minutes / 60, gpu_hours=0)


def test_gains_per_label_and_minute_are_over_the_start():
    result = arm("main", mean=0.9, start={SUITE: 0.3}, after_base=cost(2), labels=200)
    assert per_100_labels(result, SUITE) == pytest.approx(0.3)  # 60 points, 200 labels
    assert per_cpu_minute(result, SUITE) == pytest.approx(0.3)
    assert per_100_labels(arm("free", start={SUITE: 0.3}, labels=0), SUITE) is None
    assert per_cpu_minute(arm("unknown", start={SUITE: 0.3}), SUITE) is None


def test_arms_stand_at_their_cpu_time():
    chart = by_cpu_time(SUITE, [arm("main", after_base=cost(10)), arm("direct", after_base=cost(5)), arm("unknown")])
    assert chart is not None and chart.unit == "CPU minutes"
    assert [(point.arm, point.x) for point in chart.points] == [("main", 100.0), ("direct", 50.0)]
    assert by_cpu_time(SUITE, [arm("main")]) is None


def test_a_curve_joins_its_arms_in_order_of_labels_on_a_logarithmic_axis():
    arms = [
        arm("main", curve="full", mean=0.8, labels=400),
        arm("direct", curve="direct", mean=0.6, labels=400),
        arm("full_100", curve="full", mean=0.4, labels=100),
        arm("full_200", curve="full", mean=0.6, labels=200),
        arm("alone", curve="single", labels=100),
    ]
    chart = curve_chart(SUITE, arms)
    assert chart is not None
    (full,) = chart.curves  # `direct` and `single` have one point each
    assert [(point.arm, point.x) for point in full.points] == [("full_100", 0), ("full_200", 50), ("main", 100)]
    assert full.path == "M0 60L50 40L100 20"
    assert [tick.label for tick in chart.x_ticks] == ["100", "200", "400"]
    assert curve_chart(SUITE, arms[:2]) is None


# Whole pages

ARMS = """
outcome: polish
published: half_bridge_stage3
curve: full workflow
searched: {direct_arm: search.yaml}
arms:
  no_warmup: {description: Stage 2a left out, lacks: Stage 2a, published: half_opd_stage3, drop: warmup}
  direct_arm:
    lacks: the teacher
    curve: direct GRPO
    steps: {grpo: {stage: sparse_grpo, policy: step:student_base, spends: [first, second], epochs: 1}}
    outcome: grpo
  direct_few:
    curve: direct GRPO
    steps: {grpo: {stage: sparse_grpo, policy: step:student_base, spends: second, epochs: 1}}
    outcome: grpo
"""

SEARCH = """
extends: tiny.yaml
name: search
searched: null
published: null
curve: null
seeds: [7]
outcome: direct
steps: {direct: {spends: second}}    # labels are no setting
arms:
  no_warmup: null
  direct_arm: null
  direct_few: null
  faster: {steps: {direct: {learning_rate: 3e-6}}}
"""

RIGHT = {"polish": 7, "polish@1": 6, "no_warmup.polish": 5, "no_warmup.polish@1": 4}


def front_plan(root: Path, *, published: bool = True) -> Plan:
    (root / "search.yaml").write_text(SEARCH, encoding="utf-8")
    path = root / "tiny.yaml"
    path.write_text(RECIPE + ARMS, encoding="utf-8")
    plan = make_plan(load_recipe(path), root / "runs", (0, 1))
    for step in plan.steps if published else ():
        publish(plan, step, text=r"8;6;\boxed{6}", right=defaultdict(lambda: 4, RIGHT))
    return plan.refreshed()


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    return front_plan(tmp_path_factory.mktemp("front"))


def test_arms_that_only_fill_a_curve_are_tested_and_drawn_nowhere_else(plan: Plan):
    results = {result.arm: result for result in arm_results(plan)}
    assert results["direct_few"].difference and results["direct_few"].p_holm == {}
    raw = sorted(results[name].difference[SUITE].p for name in ("no_warmup", "direct_arm"))
    corrected = sorted(results[name].p_holm[SUITE] for name in ("no_warmup", "direct_arm"))
    assert corrected[0] == pytest.approx(min(1.0, 2 * raw[0]))  # two arms ask something, not three
    section = arm_section(plan)
    assert [mark.result.arm for mark in section.charts[0].marks] == ["main", "no_warmup", "direct_arm"]
    assert [mark.beside for mark in section.charts[0].marks] == ["", "paper −0.7", ""]
    (chart,) = section.curve_charts
    assert [point.arm for point in chart.curves[0].points] == ["direct_few", "direct_arm"]


def test_a_result_knows_its_start_its_answers_and_its_cost_after_the_base_models(plan: Plan):
    main = arm_results(plan)[0]
    assert main.start == {SUITE: 0.5} and main.mean_tokens == {SUITE: 9.0}  # student_base: four of eight
    # 0.001 h a step: seven lead to polish, of which teacher_base and student_base are base models
    assert main.cost is not None and main.after_base is not None
    assert (main.cost.cpu_hours, main.after_base.cpu_hours) == (pytest.approx(0.007), pytest.approx(0.005))


def test_the_page_opens_with_the_answer(plan: Plan, tmp_path: Path):
    html = write_report(plan, tmp_path / "report.html").read_text(encoding="utf-8")
    text = Reader(html).text.replace("\u00a0", " ")
    assert text.index("All stages together take the student from 50.0 %") < text.index("Leaving it out:")
    assert html.index('id="answer"') < html.index('id="arms"') < html.index('id="earned"')
    assert "The teacher" in text and 'href="#transcripts"' in html and 'id="transcripts"' in html


def test_a_plan_of_several_seeds_and_no_other_arm_has_a_page(tmp_path: Path):
    (tmp_path / "tiny.yaml").write_text(RECIPE, encoding="utf-8")
    alone = make_plan(load_recipe(tmp_path / "tiny.yaml"), tmp_path / "runs", (0, 1))
    text = Reader(write_report(alone, tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert "No arm has been scored yet." in text and "Arms compared" in text


# What was searched


def test_a_search_that_has_not_run_says_so(plan: Plan):
    (search,) = searches(plan)
    assert (search.best, search.verdict) == (None, "the search has not been run under this root")


def searched(root: Path, **right: int) -> str:
    plan = front_plan(root, published=False)
    search = make_plan(load_recipe(root / "search.yaml"), root / "runs", (7,))
    for step in search.steps:
        if step.name in right or step.name.removesuffix(".evaluate") in right:
            publish(search, step, text="6", right=right)
    (found,) = searches(plan)
    return found.verdict


def test_an_arm_is_held_against_the_best_of_its_search(tmp_path: Path):
    slow, fast = "direct@7", "faster.direct@7"
    for folder in "abc":
        (tmp_path / folder).mkdir()
    assert searched(tmp_path / "a", **{slow: 6, fast: 5}) == "matches the best of the search"
    assert searched(tmp_path / "b", **{slow: 5, fast: 6}) == (
        "differs from the best of the search: learning_rate here 1e-06, there 3e-06"
    )
    assert searched(tmp_path / "c", **{slow: 5}) == (
        "matches the best of the search; 1 of 2 are not scored under every seed yet"
    )


def test_a_search_that_cannot_be_read_stops_no_page(tmp_path: Path):
    plan = front_plan(tmp_path, published=False)
    (tmp_path / "search.yaml").unlink()
    (search,) = searches(plan)
    assert search.verdict.startswith("the search cannot be read: ") and "search.yaml" in search.verdict
    assert "cannot be read" in write_report(plan, tmp_path / "report.html").read_text(encoding="utf-8")


# Means of an evaluation


def test_means_come_from_the_table_of_problems_and_else_from_the_samples(plan: Plan, tmp_path: Path):
    artifact = plan.step("polish.evaluate").artifact
    assert artifact is not None
    samples = (artifact.folder / SUITE / "samples.jsonl").read_text()
    (tmp_path / "samples.jsonl").write_text(samples)
    assert read_means(tmp_path) == read_answers(tmp_path).means != {}
    table = tmp_path / "problems.csv"
    table.write_text("problem,samples,scored,right,mean\np0,2,2,1,0.5\np1,2,0,0,\n")
    assert read_means(tmp_path) == {"p0": 0.5}  # p1 could not be scored: absent, not zero
    for torn in ("problem,mean\np0,hal", "something else\n1\n", "problem,mean\np0\n"):
        table.write_text(torn)
        assert read_means(tmp_path) == read_answers(tmp_path).means


# Curves of another recipe


def with_curves_from(plan: Plan, name: str) -> Plan:
    return replace(plan, recipe=plan.recipe.model_copy(update={"curves_from": name}))


def test_curves_may_be_those_of_another_recipe_and_say_so(tmp_path: Path):
    plan = front_plan(tmp_path)
    text = (RECIPE + ARMS).replace("name: tiny", "name: labels\nseeds: [1]")
    assert "name: labels" in text
    (tmp_path / "labels.yaml").write_text(text, encoding="utf-8")
    section = arm_section(with_curves_from(plan, "labels.yaml"))
    assert section.curves_from == "labels.yaml, seeds 1"
    points = {point.arm: point.spoken for point in section.curve_charts[0].curves[0].points}
    own = {point.arm: point.spoken for point in arm_section(plan).curve_charts[0].curves[0].points}
    assert points.keys() == own.keys() == {"direct_few", "direct_arm"}


@pytest.mark.parametrize(
    ("text", "said"), [(None, "labels.yaml cannot be read"), (SEARCH, "labels.yaml has not been run under this root")]
)
def test_curves_that_are_not_there_are_named(plan: Plan, tmp_path: Path, text: str | None, said: str):
    folder = Path(plan.recipe.path).parent
    if text is not None:
        (folder / "labels.yaml").write_text(text, encoding="utf-8")
    section = arm_section(with_curves_from(plan, "labels.yaml"))
    (folder / "labels.yaml").unlink(missing_ok=True)
    assert section.curve_charts == () and section.curves_from.startswith(said)
    page = write_report(with_curves_from(plan, "labels.yaml"), tmp_path / "page.html").read_text(encoding="utf-8")
    assert "With fewer labels" in page and "labels.yaml" in page
