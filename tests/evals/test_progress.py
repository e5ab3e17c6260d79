"""Time left, and lines that suit a terminal or a log."""

from __future__ import annotations

import io

from evals.progress import Progress, ProgressPrinter, clock


def progress(done: int) -> Progress:
    return Progress(suite="s", done=done, total=100, found=20, right=10, truncated=4, tokens=9_000, seconds=30.0)


def test_time_left_counts_only_what_this_run_made():
    # 40 samples in 30 s, 40 to go
    assert progress(60).seconds_left == 30.0
    assert progress(20).seconds_left is None
    assert progress(60).line() == "60/100 samples  25.0 % right  10.0 % truncated  300 tokens/s  0:30 left"
    assert clock(3_725) == "1:02:05"


def test_a_log_gets_few_lines_and_always_the_last():
    stream = io.StringIO()
    printer = ProgressPrinter(stream)
    for done in (21, 22, 23, 100):
        printer(progress(done))
    assert [line.split()[0] for line in stream.getvalue().splitlines()] == ["21/100", "100/100"]
