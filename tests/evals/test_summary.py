"""Every sample of a problem that was asked counts, whatever became of it."""

from __future__ import annotations

from evals.summary import scored


def test_an_answer_cannot_leave_the_score():
    # two of four right: one half, also where one of the others could not be judged
    assert scored({"p": [1.0, 0.0, None, 1.0], "q": [None]}) == {"p": [1.0, 0.0, 0.0, 1.0], "q": [0.0]}
