"""Geometry, curves, transcripts and lineage: small functions with their arithmetic shown."""

import json

import pytest

from reasoning_pipeline.report.answers import (
    Answers,
    Transcript,
    excerpt,
    outcome_of,
    paired_gain,
    read_answers,
    typical_problems,
)
from reasoning_pipeline.report.charts import Scale, accuracy_scale, number, smoothed, thinned, value_scale
from reasoning_pipeline.report.curves import training_curves
from reasoning_pipeline.report.lineage import lineage_graph
from reasoning_pipeline.workflows.reasoning.stages import forward_kl_warmup, on_policy_distillation
from tests.report.tiny_registry import tiny_plan


@pytest.mark.parametrize(
    ("values", "low"),
    [([0.94, 0.97], 0.9), ([0.8, 1.0], 0.75), ([0.97, 0.99], 0.95), ([0.7, 0.9], 0.0), ([1.0, 1.0], 0.0)],
)
def test_shares_near_the_top_are_seen_from_near(values: list[float], low: float):
    assert value_scale(values, share=True) == Scale(low, 1.0)


def test_scales_place_values_in_percent():
    assert [Scale(0, 4).at(v) for v in (0, 1, 4, 9)] == [0, 25, 100, 100]
    assert Scale(0.01, 1, log=True).at(0.1) == 50


@pytest.mark.parametrize(
    ("values", "low", "high", "log"),
    [
        ([0.0, 0.0], 0.0, 1.0, False),
        ([3.0, 3.0], 0.0, 3.0, False),
        ([-0.03, 0.05], -0.04, 0.06, False),
        ([0.001, 0.5], 0.001, 0.5, True),
        ([0.0, 0.5], 0.0, 0.6, False),
    ],
)
def test_value_axes_end_at_round_numbers(values, low, high, log):
    scale = value_scale(values)
    assert (scale.low, scale.high, scale.log) == (pytest.approx(low), pytest.approx(high), log)
    assert len(scale.ticks()) >= 2


def test_accuracy_axes_start_at_zero_and_hold_the_highest_interval():
    assert [accuracy_scale(v).high for v in (0.0, 0.04, 0.08, 0.3, 0.51)] == [0.05, 0.05, 0.1, 0.5, 1.0]


def test_numbers_are_short():
    assert [number(v) for v in (0, 0.25, 1200, 5e-4, -0.02, 2_870_000)] == [
        "0",
        "0.25",
        "1,200",
        "5e-4",
        "−0.02",
        "2.87 M",
    ]


def test_thinning_averages_and_smoothing_keeps_every_step():
    points = [(float(i), float(i)) for i in range(6)]
    assert thinned(points, most=3) == [(0.5, 0.5), (2.5, 2.5), (4.5, 4.5)]
    assert smoothed(points, 3)[:2] == [(0.0, 0.5), (1.0, 1.0)]


def test_what_never_moved_is_a_word_and_not_a_plot():
    rows = [{"step": i, "reward": i / 9, "truncated": 0.0, "entropy": 1 / i} for i in range(1, 10)]
    curves = training_curves(rows, {})
    assert curves.large.title == "reward, mean of 0 or 1"
    assert [plot.title for plot in curves.small] == ["entropy, nats per token"]
    assert curves.constant == (("truncated share", "0"),)


def test_a_kl_says_which_way_round_it_is():
    rows = [{"step": i, "kl": 1 / i, "loss": 1 / i} for i in range(1, 4)]
    assert "KL(teacher ‖ student)" in training_curves(rows, forward_kl_warmup.Config.metric_titles).large.title
    assert "KL(student ‖ teacher)" in training_curves(rows, on_policy_distillation.Config.metric_titles).large.title


def test_missing_and_broken_metrics_leave_no_plot():
    rows = [
        {"step": 1, "reward": None},
        {"step": "x", "reward": 1},
        {"reward": 0.5},
        {"step": 2, "reward": float("nan")},
    ]
    curves = training_curves(rows, {})
    assert curves.large is None and curves.small == () and curves.constant == ()


def test_an_excerpt_keeps_both_ends():
    text, omitted = excerpt("a" * 50 + "b" * 50, limit=10)
    assert text == "aaaaa\n⋯\nbbbbb" and omitted == 90


def test_verifier_faults_are_unscored_and_never_wrong():
    assert (
        outcome_of({"status": "timeout"})
        == outcome_of({"status": "reference_unparsed", "correct": False})
        == "unscored"
    )
    assert outcome_of({"status": "no_box"}) == outcome_of({"correct": False}) == "wrong"
    assert outcome_of({"status": "correct"}) == outcome_of({"correct": True}) == "right"
    assert outcome_of({}) == "unscored"


def test_unscored_samples_are_left_out_of_a_problems_mean(tmp_path):
    rows = [("a", 0, "correct"), ("a", 1, "timeout"), ("b", 0, "error")]
    lines = [json.dumps({"problem_id": p, "sample": s, "status": status, "text": ""}) for p, s, status in rows]
    (tmp_path / "samples.jsonl").write_text("\n".join([*lines, "not json", "[1]"]))
    answers = read_answers(tmp_path)
    assert answers.scores == {"a": (1, 1)} and set(answers.first) == {"a", "b"}


def answers(**right: int) -> Answers:
    shown = Transcript(text="", omitted=0, tokens=None, status="", outcome="right")
    return Answers(scores={p: (r, 4) for p, r in right.items()}, first=dict.fromkeys(right, shown))


def test_gains_are_paired_by_problem():
    # a: +1/2, b: 0; only in one of them: c and d. Mean 1/4, sd sqrt(1/8), error sqrt(1/8)/sqrt(2) = 1/4
    gain = paired_gain(answers(a=0, b=4, c=4), answers(a=2, b=4, d=0))
    assert (gain.difference, gain.se, gain.problems) == (0.25, pytest.approx(0.25), 2)
    assert paired_gain(answers(a=1), answers(b=1)) is None
    assert paired_gain(answers(a=1), answers(a=2)).se is None


def test_shown_problems_run_from_easy_to_hard():
    checkpoint = answers(a=4, b=0, c=2, d=3, e=1, f=0)
    # from easy to hard: a d c e b f; the middles of three equal parts are the 2nd, 4th and 6th
    assert typical_problems([checkpoint], 3) == ["d", "e", "f"]
    assert typical_problems([checkpoint, answers(c=1)], 3) == ["c"]
    assert typical_problems([], 3) == []


def test_a_policy_hands_its_lane_to_the_step_that_trains_it_further(tmp_path):
    rows = {row.step: row for row in lineage_graph(tiny_plan(tmp_path)).rows}
    assert rows["teacher_base"].lane == rows["teacher_rl"].lane
    assert rows["warmup"].lane == rows["distill"].lane == rows["polish"].lane
    # the student's base is read again by `direct`, so its lane goes on beside the bridge
    assert rows["student_base"].lane == rows["direct"].lane != rows["warmup"].lane


def test_every_input_is_a_line_that_ends_at_its_reader(tmp_path):
    graph = lineage_graph(tiny_plan(tmp_path))
    for row in graph.rows:
        arriving = [
            line for line in row.lines if line.path.startswith("M") and line.path.endswith("50") and " 0" in line.path
        ]
        assert len(arriving) == len(row.inputs)
        assert 0 < row.x < graph.width
    assert graph.most_labels == 16
