"""The cognitive gap, and the test that a coverage scorer must pass before it is believed."""

from __future__ import annotations

import pytest

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.workflows.user_logs import small_world
from reasoning_pipeline.workflows.user_logs.gap import CALIBRATION, calibrate, cluster_gaps, log_gaps

TRUTH = {(rule, prior): truth for rule, prior, truth in CALIBRATION}


def test_a_gap_by_hand():
    scores = {"a": 0.9, "b": 0.2, "c": 0.4}
    gaps = log_gaps([["a", "b"], ["c"], ["b"]], [["x"], ["x"], []], lambda asked: [scores[rule] for rule, _ in asked])
    assert gaps == pytest.approx([0.1, 0.6, 1.0])  # the minimum over rules; nothing guessed is a gap of 1
    found = cluster_gaps(gaps, [0, 0, 1])
    assert found[0] == {"gap": pytest.approx(0.35), "logs": 2} and found[1]["gap"] == 1.0


def test_a_scorer_that_can_tell_passes():
    found = calibrate(lambda asked: [0.9 if TRUTH[rule, tuple(prior)] else 0.1 for rule, prior in asked])
    assert (found.auc, found.pairs) == (1.0, 12)
    assert calibrate(small_world_scorer, small_world.CALIBRATION).auc == 1.0


def small_world_scorer(asked):
    return [small_world.covers(rule, prior) for rule, prior in asked]


@pytest.mark.parametrize(
    "scores",
    [
        lambda truth: (
            0.81 if truth else 0.79
        ),  # in the right order, and yes to everything: as SmolLM2-135M was measured
        lambda truth: 0.5,
        lambda truth: 0.1 if truth else 0.9,
    ],
)
def test_a_scorer_that_cannot_tell_fails_loudly(scores):
    with pytest.raises(PipelineError, match=r"cannot tell covered rules from uncovered ones: AUC .* on 12 pairs"):
        calibrate(lambda asked: [scores(TRUTH[rule, tuple(prior)]) for rule, prior in asked])
