"""Ranks, figures and candidates, against results by hand."""

from __future__ import annotations

import numpy as np
import pytest

from reasoning_pipeline.errors import DataError
from reasoning_pipeline.workflows.recommendation.bundle import Scorer, popularity, title_cosine
from reasoning_pipeline.workflows.recommendation.histories import Case
from reasoning_pipeline.workflows.recommendation.ranking import Negatives, figures, random_scores, rank, ranks
from tests.workflows.recommendation.small import directions, histories


def test_ties_and_what_is_no_number_stand_before_the_target():
    assert rank(0.5, np.array([0.1, 0.2])) == 1
    assert rank(0.5, np.array([0.5, 0.5, 0.9, 0.1])) == 4
    assert rank(0.5, np.array([np.nan, 0.1])) == 2
    assert rank(np.nan, np.array([0.1, 0.2])) == 3


def test_a_scorer_that_gives_everything_the_same_score_is_right_about_nothing():
    found = histories(*[(0, 1, 2, 3 + n) for n in range(10)])
    same = Scorer(lambda histories, domains: np.ones((len(histories), 1)), np.ones((40, 1)))
    places = ranks(same, found.cases("test"), Negatives(found.domain_N, found.counts_N, 10, 0), "uniform")
    assert places.tolist() == [11] * 10


def test_figures_by_hand():
    found = figures(np.array([1, 3, 11]), (10,))
    assert found["hr@10"].tolist() == [1, 1, 0]
    assert found["ndcg@10"] == pytest.approx([1, 0.5, 0])  # 1/log2(2), 1/log2(4)
    assert found["mrr"] == pytest.approx([1, 1 / 3, 1 / 11])


def test_negatives_are_of_the_targets_domain_not_taken_and_the_same_for_every_model():
    found = histories((0, 20, 1, 2), items=400)
    case = found.cases("test")[0]
    case = Case(user="u", history=(0, 200, 1), target=2, domain=0)
    counts = np.arange(400)
    for ranking in ("uniform", "popularity"):
        drawn = Negatives(found.domain_N, counts, 100, seed=0).drawn(case, ranking)
        assert len(set(drawn.tolist())) == 100 and (found.domain_N[drawn] == 0).all()
        assert not set(drawn.tolist()) & {0, 1, 2}
        again = Negatives(found.domain_N, counts, 100, seed=0).drawn(case, ranking)
        assert drawn.tolist() == again.tolist()
        assert drawn.tolist() != Negatives(found.domain_N, counts, 100, seed=1).drawn(case, ranking).tolist()


def test_popular_items_are_drawn_in_proportion_and_the_last_of_a_domain_too():
    domain_N, counts = np.zeros(1000, int), np.ones(1000)
    counts[999] = 1000  # half of all that was taken
    negatives = Negatives(domain_N, counts, 5, seed=0)
    cases = [Case(user=f"u{n}", history=(0,), target=1, domain=0) for n in range(300)]
    popular = np.mean([999 in negatives.drawn(case, "popularity") for case in cases])
    uniform = np.mean([999 in negatives.drawn(case, "uniform") for case in cases])
    assert popular > 0.85 and uniform < 0.05  # 1 - (1/2)^5 = 0.97 and 5/1000, three hundred times


def test_a_small_domain_gives_all_it_has_or_says_that_it_cannot():
    domain_N = np.zeros(30, int)
    case = Case(user="u7", history=(0, 1), target=2, domain=0)
    assert sorted(Negatives(domain_N, np.ones(30), 27, 0).drawn(case, "popularity").tolist()) == list(range(3, 30))
    with pytest.raises(DataError, match="u7: the domain of the target has 27 items that this user has not taken, 28"):
        Negatives(domain_N, np.ones(30), 28, 0).drawn(case, "uniform")


def test_a_full_ranking_ranks_the_whole_domain_without_what_was_taken():
    domain_N = np.array([0, 0, 0, 0, 1])
    counts = np.array([9, 5, 7, 8, 99])
    negatives = Negatives(domain_N, counts, 1, 0)
    case = Case(user="u", history=(0,), target=1, domain=0)
    assert ranks(popularity(counts), [case], negatives, "full").tolist() == [3]  # behind 3 and 2; 0 was taken


def test_chance_is_right_ten_times_in_a_hundred_and_one():
    found = histories(*[(n % 500, 500 + n % 500, (n * 7) % 500, (n * 11 + 1) % 500) for n in range(3000)], items=1000)
    negatives = Negatives(found.domain_N, np.ones(1000), 100, seed=0)
    places = ranks(random_scores(1000, 3), found.cases("test"), negatives, "uniform")
    # sd of the mean sqrt(0.1 0.9 / 3000) = 0.0055, though 16 dimensions make neighbours alike: four of them.
    assert (places <= 10).mean() == pytest.approx(10 / 101, abs=0.022)


def test_title_cosine_finds_the_nearest_title():
    vectors = directions(40)
    vectors[7] = vectors[3]
    scorer = title_cosine(vectors)
    assert (scorer.queries([(3,)], [0])[0] @ scorer.items_ND.T)[7] == pytest.approx(1, abs=1e-5)
