"""metrics.jsonl -> the training curves of one step: one large plot, small ones beside it, and what never moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from reasoning_pipeline.report.charts import (
    Point,
    Scale,
    Tick,
    band,
    finite,
    number,
    path,
    smoothed,
    thinned,
    value_scale,
)

LARGE_FIRST = ("reward", "kl", "greedy_accuracy", "loss")
"""The first of these that a step recorded is its large plot."""

TITLES = {
    "reward": "reward, mean of 0 or 1",
    "kl": "KL, nats per token",
    "greedy_accuracy": "greedy accuracy",
    "loss": "loss",
    "top_k_overlap": "overlap of the likeliest tokens, share",
    "entropy": "entropy, nats per token",
    "completion_tokens": "completion length, tokens",
    "truncated": "truncated share",
    "clip_ratio": "tokens whose ratio was clipped, share",
    "learning_rate": "learning rate",
    "grad_norm": "gradient norm",
    "sampler_mismatch": "trainer against server, largest log-prob difference",
    "importance_ratio": "trainer over server, mean importance ratio",
    "verdicts_timeout": "verifier timeouts, share",
    "verdicts_error": "verifier errors, share",
    "verdicts_reference_unparsed": "unusable references, share",
    "tokens_per_s": "tokens per second",
    "trainer_idle": "trainer waits for rollouts, share of the time",
    "server_idle": "server writes none, share of the time",
}
"""What is drawn, in this order. Weight pushes have a table of their own."""

SHARES = (
    *("reward", "greedy_accuracy", "top_k_overlap", "truncated", "clip_ratio"),
    *("verdicts_timeout", "verdicts_error", "verdicts_reference_unparsed"),
    *("trainer_idle", "server_idle"),
)
EXACT = ("learning_rate", "greedy_accuracy")
"""Set, or measured now and then: a moving mean would only blur them."""
FEWEST_SMOOTHED = 12
GROUPS = (("groups_all_right", "all right"), ("groups_mixed", "mixed"), ("groups_all_wrong", "all wrong"))


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One line or one area of a plot; `kind` names its style."""

    kind: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Geometry and words of one plot, ready for the template."""

    title: str
    spoken: str
    """The plot in one sentence, for those who cannot see it."""
    layers: tuple[Layer, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    log: bool = False
    areas: tuple[tuple[str, str], ...] = ()
    """(kind, name) of stacked areas, from the top."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    large: Plot | None
    small: tuple[Plot, ...]
    constant: tuple[tuple[str, str], ...]
    """(title, value) of what had one value throughout: worth a word, not a plot."""


def training_curves(rows: Sequence[Mapping[str, Any]], own_titles: Mapping[str, str]) -> Curves:
    """Plots of everything a step recorded about its learning; metrics that are missing are left out.

    Args:
        own_titles: What its stage calls metrics that mean something of their own there.
    """
    series = {name: _series(rows, name) for name in TITLES}
    titles = {**TITLES, **own_titles}
    large = next((name for name in LARGE_FIRST if len(series[name]) > 1), None)
    small: list[Plot] = []
    constant: list[tuple[str, str]] = []

    def drawn(name: str) -> Plot:
        return _line_plot(titles[name], series[name], share=name in SHARES, exact=name in EXACT)

    for name, points in series.items():
        values = {y for _, y in points}
        # A distillation's loss is its KL, and GRPO's is about zero at one update per batch, whatever is learned.
        if not points or name == large or (name == "loss" and large in ("reward", "kl")):
            continue
        if len(values) == 1:
            constant.append((titles[name], number(values.pop())))
        else:
            small.append(drawn(name))
    groups = _groups_plot(rows)
    small = [*([groups] if groups else []), *small]
    return Curves(large=drawn(large) if large else None, small=tuple(small), constant=tuple(constant))


def _series(rows: Sequence[Mapping[str, Any]], name: str) -> list[Point]:
    return [(float(row["step"]), float(row[name])) for row in rows if finite(row.get("step")) and finite(row.get(name))]


def _line_plot(title: str, points: list[Point], *, share: bool, exact: bool = False) -> Plot:
    first, last, values = points[0], points[-1], [value for _, value in points]
    x = steps_scale(points)
    drawn = thinned(points)
    y = value_scale([value for _, value in drawn], share=share)
    if exact or len(drawn) < FEWEST_SMOOTHED:
        layers = [Layer(kind="mean", path=path(drawn, x, y))]
    else:
        window = 2 * ceil(len(drawn) / 40) + 1
        layers = [
            Layer(kind="each", path=path(drawn, x, y)),
            Layer(kind="mean", path=path(smoothed(drawn, window), x, y)),
        ]
    spoken = (
        f"{title}: {number(first[1])} at step {number(first[0])}, {number(last[1])} at step {number(last[0])}, "
        f"between {number(min(values))} and {number(max(values))}"
    )
    return Plot(title=title, spoken=spoken, layers=tuple(layers), x_ticks=steps_ticks(x), y_ticks=y.ticks(), log=y.log)


def _groups_plot(rows: Sequence[Mapping[str, Any]]) -> Plot | None:
    """How many groups could teach anything: shares stacked to one."""
    names = [name for name, _ in GROUPS]
    counted = [row for row in rows if finite(row.get("step")) and all(finite(row.get(name)) for name in names)]
    if len(counted) < 2:
        return None
    per_name = [smoothed(thinned(_series(counted, name)), 5) for name in names]
    x, y = steps_scale(_series(counted, names[0])), Scale(0.0, 1.0)
    below = [(step, 0.0) for step, _ in per_name[0]]
    layers, spoken = [], []
    for (name, label), shares in zip(reversed(GROUPS), reversed(per_name), strict=True):
        above = [(step, low + share) for (step, low), (_, share) in zip(below, shares, strict=True)]
        layers.append(Layer(kind=name, path=band(below, above, x, y)))
        spoken.append(f"{label} {shares[0][1]:.0%} at first and {shares[-1][1]:.0%} at last")
        below = above
    return Plot(
        title="groups; only mixed ones teach",
        spoken="Groups: " + ", ".join(reversed(spoken)),
        layers=tuple(layers),
        x_ticks=steps_ticks(x),
        y_ticks=y.ticks(2),
        areas=GROUPS,
    )


def steps_scale(points: Sequence[Point]) -> Scale:
    first, last = points[0][0], points[-1][0]
    return Scale(first, last) if last > first else Scale(first, first + 1)


def steps_ticks(x: Scale) -> tuple[Tick, ...]:
    """Both ends: enough for time, and never crowded."""
    return Tick(0.0, number(x.low)), Tick(100.0, number(x.high))
