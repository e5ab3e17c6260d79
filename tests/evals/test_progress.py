"""How far an evaluation is, in the words of every step."""

from __future__ import annotations

from evals.progress import SoFar
from reasoning_pipeline.run.progress import describe


def so_far(done: int) -> SoFar:
    return SoFar(done=done, total=100, found=20, right=10, truncated=4, tokens=9_000, seconds=30.0)


def test_time_left_counts_only_what_this_run_made():
    # 40 samples in 30 s, 40 to go
    assert so_far(60).as_json()["seconds_left"] == 30.0
    assert so_far(20).as_json()["seconds_left"] is None
    line = "step 60/100 · accuracy 25.0% · 10.0% truncated · 300 tokens/s · 0:30 left"
    assert describe(so_far(60).as_json()) == line
