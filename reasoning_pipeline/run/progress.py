"""What a person sees while a plan runs: one live line on a terminal, at most a line every ten seconds in a log."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner

from reasoning_pipeline.base.text import clock

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan, PlannedStep

LOG_EVERY_SECONDS = 10.0

PROGRESS = "progress.json"
"""In a step's work folder; run/metrics.py writes it."""

FIRST_STEPS = 3
"""Finished before the time left is told."""


class Progress:
    """Prints for the runner. Steps may run side by side: on a terminal each has a line of its own."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._spinners: list[Spinner] = []
        self._live: Live | None = None
        self._lock = threading.RLock()
        self._time_left = TimeLeft([])

    def begin(self, stages: Sequence[str]) -> None:
        """These are to be done, by stage; from here on the time left is estimated."""
        self._time_left = TimeLeft(stages)

    @contextmanager
    def step(self, prefix: str, name: str, stage: str, work: Path) -> Iterator[StepProgress]:
        """Follows a step's progress.json until the step ends."""
        with self.told(f"{prefix} {name} ({stage})") as tell:
            yield StepProgress(work, tell)

    @contextmanager
    def told(self, title: str) -> Iterator[Callable[[dict[str, Any]], None]]:
        """A line for something that says itself how far it is; yields what takes that."""
        every_s = 0.0 if self.console.is_terminal else LOG_EVERY_SECONDS
        last, shown = time.monotonic(), ""
        with self._line(f"{title}: starting") as show:

            def tell(values: dict[str, Any]) -> None:
                nonlocal last, shown
                if time.monotonic() - last >= every_s and (text := describe(values)) != shown:
                    last, shown = time.monotonic(), text
                    show(f"{title}: {text}")

            yield tell

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """A spinner on a terminal; in a log, a line if it takes longer than a moment."""
        started = time.monotonic()
        with self._line(text):
            yield
        if not self.console.is_terminal and (seconds := time.monotonic() - started) > 1:
            self.console.print(f"{text} ({clock(seconds)})", highlight=False, soft_wrap=True)

    def done(self, prefix: str, name: str, stage: str, seconds: float, plan: Plan, step: PlannedStep) -> None:
        artifact = plan.registry.find(step.config.stage, step.fingerprint)
        result = artifact.record.result if artifact is not None else {}
        self._time_left.finished(stage, seconds)
        text = f"{prefix} {name} ({stage}) done in {clock(seconds)}{summary(result)}{self._time_left.sentence()}"
        self.console.print(text, highlight=False, soft_wrap=True)

    @contextmanager
    def _line(self, text: str) -> Iterator[Callable[[str], None]]:
        """A live line on a terminal, or printed lines; yields what changes it."""
        if not self.console.is_terminal:
            yield lambda new: self.console.print(new, highlight=False, soft_wrap=True)
            return
        spinner = Spinner("dots", text)
        with self._lock:
            self._spinners.append(spinner)
            if self._live is None:  # rich has one live display a console
                self._live = Live(get_renderable=lambda: Group(*self._spinners), console=self.console, transient=True)
                self._live.start()
        try:
            yield lambda new: spinner.update(text=new)
        finally:
            with self._lock:
                self._spinners.remove(spinner)
                if not self._spinners and self._live is not None:
                    self._live.stop()
                    self._live = None


class StepProgress:
    """What is shown of one step."""

    def __init__(self, work: Path, tell: Callable[[dict[str, Any]], None]) -> None:
        self.work, self._tell = work, tell
        (work / PROGRESS).unlink(missing_ok=True)

    def refresh(self) -> None:
        """Show the newest progress, if any, unless that was done a moment ago."""
        self._tell(read_progress(self.work))


class TimeLeft:
    """How long the rest of a plan will take, from what steps of the same stage have taken in it so far."""

    def __init__(self, stages: Sequence[str]) -> None:
        self._left = Counter(stages)
        self._took: dict[str, list[float]] = {}
        self._began = time.monotonic()

    def finished(self, stage: str, seconds: float) -> None:
        self._left[stage] -= 1
        self._took.setdefault(stage, []).append(seconds)

    def sentence(self) -> str:
        """`; 12:30 left`. Empty before anything is known, and when nothing is left."""
        took = [seconds for stage in self._took.values() for seconds in stage]
        seconds = sum(
            count * mean(self._took.get(stage) or took) for stage, count in self._left.items() if count > 0 and took
        )
        if len(took) < FIRST_STEPS or not seconds:
            return ""
        pace = (time.monotonic() - self._began) / sum(took)  # below 1 where steps run side by side
        return f"; {clock(seconds * pace)} left"


def read_progress(work: Path) -> dict[str, Any]:
    """What the step in this work folder has last said of itself; nothing before it did."""
    try:
        values: dict[str, Any] = json.loads((work / PROGRESS).read_text(encoding="utf-8"))
        return values
    except (OSError, json.JSONDecodeError):
        return {}


def describe(values: dict[str, Any]) -> str:
    """`step 12/48 · reward 0.52 · 6,400 tokens/s · 0:18 left`."""
    if not values:
        return "starting"
    total = values.get("total_steps")
    parts = [f"step {values.get('step', 0):,}" + (f"/{total:,}" if total else "")]
    for name, form in (
        ("reward", "reward {:.2f}"),
        ("kl", "KL {:.4f}"),
        ("accuracy", "accuracy {:.1%}"),
        ("greedy_accuracy", "greedy accuracy {:.0%}"),
        ("truncated", "{:.1%} truncated"),
        ("tokens_per_s", "{:,.0f} tokens/s"),
    ):
        if values.get(name) is not None:
            parts.append(form.format(values[name]))
    if "reward" not in values and "kl" not in values and values.get("loss") is not None:
        parts.insert(1, f"loss {values['loss']:.3f}")
    if values.get("seconds_left") is not None:
        parts.append(f"{clock(values['seconds_left'])} left")
    return " · ".join(parts)


def summary(result: dict[str, Any]) -> str:
    """The one figure of a finished step that a person wants to see."""
    if "suites" in result:
        scores = [f"{name} {s['accuracy']:.1%}" for name, s in result["suites"].items() if s["accuracy"] is not None]
        return ": " + ", ".join(scores) if scores else ""
    for name, form in (("reward", "{:.2f} → {:.2f}"), ("kl", "{:.4f} → {:.4f}")):
        if f"{name}_last" in result:
            label = "KL" if name == "kl" else name
            return f": {label} " + form.format(result[f"{name}_first"], result[f"{name}_last"])
    if "accuracy" in result and "rollouts" in result:
        return f": {result['rollouts']:,} rollouts, {result['accuracy']:.1%} right"
    return ""
