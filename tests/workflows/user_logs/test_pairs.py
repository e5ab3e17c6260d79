"""Pairs: the chosen answer beats the logged one, and what has no rule trains nothing."""

from __future__ import annotations

import pytest

from reasoning_pipeline.recipe.workflows import stage_module
from reasoning_pipeline.workflows.user_logs.logs import Log
from reasoning_pipeline.workflows.user_logs.pairs import build, questions
from reasoning_pipeline.workflows.user_logs.rules import RuledLog
from reasoning_pipeline.workflows.user_logs.scoring import CHECKS
from reasoning_pipeline.workflows.user_logs.system import rules_of


def ruled(*rules: str) -> RuledLog:
    log = Log(id="a", query=({"role": "user", "content": "q"},), answer="old", feedback=("shorter",))
    return RuledLog(log=log, rules=rules, prior=())


def test_the_best_rewrite_is_chosen_and_its_scores_are_kept():
    (pair,), left = build([ruled("Be brief.")], [["x", "y", "z"]], [[7.0, 9.0, 9.0]], [4.0])
    assert (pair.chosen, pair.rejected, pair.chosen_score, pair.rejected_score) == ("y", "old", 9.0, 4.0)
    assert pair.scores == (7.0, 9.0, 9.0) and not left


@pytest.mark.parametrize(
    ("rules", "texts", "scores", "before", "why"),
    [
        ((), ["new"], [9.0], 4.0, "no rules"),
        (("r",), ["new"], [4.0], 4.0, "no rewrite better than the logged answer"),
        (("r",), ["new"], [9.0], None, "no rewrite better than the logged answer"),
        (("r",), ["old", " "], [9.0, 9.0], 4.0, "no rewrite that could be scored"),
        (("r",), ["new"], [None], 4.0, "no rewrite that could be scored"),
    ],
)
def test_where_there_is_no_pair_it_is_said_why(rules, texts, scores, before, why):
    pairs, left = build([ruled(*rules)], [texts], [scores], [before])
    assert not pairs and left == {why: 1}


def test_a_pair_need_not_be_better_where_that_is_not_asked():
    pairs, _ = build([ruled("r")], [["new"]], [[3.0]], [4.0], require_improvement=False)
    assert pairs[0].chosen == "new"


def test_each_style_has_its_context():
    feedback, rules = questions(ruled("Be brief."), ("feedback", "rules"))
    assert "shorter" in feedback and "Be brief." not in feedback and '"old"' not in feedback
    assert "Be brief." in rules and '"old"' in rules


def test_rules_of_near_logs_are_taken_once():
    assert rules_of([1, 0], [["x", "y"], ["z", "x"]], 2) == ("z", "x")


@pytest.mark.parametrize(
    ("check", "yes", "no"),
    [
        ("one_sentence", "Rain falls in spring.", "Rain falls. It is wet."),
        ("bullets", "- a\n- b", "a, b"),
        ("ends_with_question", "It rains. Do you see?", "Do you see? It rains."),
        ("contains_example", "Fruits, for example apples.", "Fruits."),
    ],
)
def test_wishes_are_checked_by_program(check: str, yes: str, no: str):
    assert CHECKS[check](yes) and not CHECKS[check](no)


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("read_logs", {}, "give exactly one of `file`, `hub` and `sessions`"),
        ("extract_rules", {"logs": "step:logs"}, "needs `extractor`"),
        ("cluster_logs", {"rules": "step:rules"}, "needs `embedder`"),
        ("measure_cognitive_gap", {"rules": "step:r", "clusters": "step:c"}, "needs `scorer`"),
        (
            "train_experts",
            {"policy": "step:p", "rules": "step:r", "pairs": "step:w", "clusters": "step:c", "losses": ["sigmoid"]},
            "1 losses and 2 loss_weights",
        ),
    ],
)
def test_what_is_missing_in_a_recipe_is_said(kind: str, values: dict, said: str):
    with pytest.raises(ValueError, match=said):
        stage_module(kind).Config(**values)
