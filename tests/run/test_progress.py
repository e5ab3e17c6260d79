"""What a person sees of a run: a line a step, side by side too, and the time left."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from reasoning_pipeline.run import progress
from reasoning_pipeline.run.progress import Progress, TimeLeft


def test_the_time_left_weighs_what_is_to_do_by_what_its_kind_has_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    left = TimeLeft(["train", "train", "train", "score", "score", "other"])
    left.finished("train", 30.0)
    left.finished("train", 50.0)
    assert left.sentence() == ""  # two steps say little
    left.finished("score", 10.0)
    now[0] = 45.0  # 90 s of steps in 45 s: two at a time
    # one train of 40 s, one score of 10 s, one of a kind not seen: 30 s, the mean of all; half of it on the clock
    assert left.sentence() == "; 0:40 left"
    for stage in ("train", "score", "other"):
        left.finished(stage, 1.0)
    assert left.sentence() == ""


def test_steps_side_by_side_have_a_line_each_on_a_terminal(tmp_path: Path) -> None:
    screen = io.StringIO()
    shown = Progress(Console(file=screen, force_terminal=True, width=80))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with (
        shown.step("[1/2]", "warmup", "x", tmp_path / "a") as first,
        shown.step("[2/2]", "direct", "y", tmp_path / "b"),
    ):
        (tmp_path / "a" / "progress.json").write_text(json.dumps({"step": 3, "total_steps": 9}), encoding="utf-8")
        first.refresh()
        assert shown._live is not None
        shown._live.refresh()
    text = screen.getvalue()
    assert "[1/2] warmup (x): step 3/9" in text and "[2/2] direct (y): starting" in text
    assert shown._live is None
    with shown.waiting("again"):  # the display can be started once more
        pass


def test_in_a_log_what_is_new_of_a_step_is_told_every_ten_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, log = [0.0], io.StringIO()
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Progress(Console(file=log)).step("[1/1]", "warmup", "x", tmp_path) as step:
        for now[0], done in ((1.0, 1), (9.0, 1), (10.5, 1), (12.0, 2), (20.0, 2), (20.6, 2), (31.0, 2), (60.0, 2)):
            (tmp_path / "progress.json").write_text(json.dumps({"step": done}), encoding="utf-8")
            step.refresh()
    assert [line.split(": ")[1] for line in log.getvalue().splitlines()] == ["step 1", "step 2"]
