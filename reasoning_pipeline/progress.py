"""What a person sees while a plan runs: one live line on a terminal, a line every ten seconds in a log."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.status import Status

if TYPE_CHECKING:
    from reasoning_pipeline.plan import Plan, PlannedStep

LOG_EVERY_SECONDS = 10.0


class Progress:
    """Prints for the runner."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def step(self, prefix: str, name: str, stage: str, work: Path) -> Iterator[StepProgress]:
        """Follows a step's progress.json until the step ends."""
        shown = StepProgress(self.console, f"{prefix} {name} ({stage})", work / "progress.json")
        with shown:
            yield shown

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """A spinner on a terminal; in a log, a line if it takes longer than a moment."""
        started = time.monotonic()
        if self.console.is_terminal:
            with self.console.status(text):
                yield
        else:
            yield
            if (seconds := time.monotonic() - started) > 1:
                self.console.print(f"{text} ({clock(seconds)})", highlight=False, soft_wrap=True)

    def done(self, prefix: str, name: str, stage: str, seconds: float, plan: Plan, step: PlannedStep) -> None:
        artifact = plan.registry.find(step.config.stage, step.fingerprint)
        result = artifact.record.result if artifact is not None else {}
        self.console.print(
            f"{prefix} {name} ({stage}) done in {clock(seconds)}{summary(result)}", highlight=False, soft_wrap=True
        )


class StepProgress:
    """The live line of one step."""

    def __init__(self, console: Console, title: str, path: Path) -> None:
        self.console, self.title, self.path = console, title, path
        self._status: Status | None = None
        self._started = self._last = time.monotonic()
        path.unlink(missing_ok=True)

    def __enter__(self) -> StepProgress:
        if self.console.is_terminal:
            self._status = self.console.status(f"{self.title}: starting")
            self._status.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._status is not None:
            self._status.stop()

    def refresh(self) -> None:
        """Show the newest progress, if any."""
        text = f"{self.title}: {describe(self._read())}"
        if self._status is not None:
            self._status.update(text)
        elif time.monotonic() - self._last >= LOG_EVERY_SECONDS:
            self._last = time.monotonic()
            self.console.print(text, highlight=False, soft_wrap=True)

    def _read(self) -> dict[str, Any]:
        try:
            values: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
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


def clock(seconds: float) -> str:
    """`0:07`, `12:34`, `2:03:04`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
