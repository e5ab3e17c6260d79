"""The estimate on the terminal: one line a step, and below it what the figures rest on."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from reasoning_pipeline.estimates.memory import ServerMemory
from reasoning_pipeline.estimates.steps import GIB, StepEstimate, estimate_plan, refuse_what_cannot_fit
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.plan.graph import Plan

SHOWN_PARTS = 3


def show_estimates(plan: Plan, profile: HardwareProfile, mean_completion: int | None, *, shown: bool) -> None:
    """The estimate of what would run, as `plan` prints it; says first which data could not be read.

    Raises:
        RecipeError: A step cannot fit on the profile's devices; says which number is too large and what to change.
    """
    _say_what_was_not_read(plan)
    estimates = [
        estimate
        for step, estimate in zip(plan.steps, estimate_plan(plan, profile, mean_completion), strict=True)
        if not step.complete
    ]
    if shown and estimates:
        _print(estimates, profile, mean_completion)
    refuse_what_cannot_fit(estimates, profile)


def _say_what_was_not_read(plan: Plan) -> None:
    for name, why in plan.ledger.pools.not_read.items():
        count = plan.recipe.data[name].count
        counted = f"{count:,} problems at most, as `count` says" if count else "its problems are not counted"
        Console(highlight=False).print(
            f"data.{name} was not read: {why}.\n  Here: {counted}; what is complete already cannot be known.\n"
            f"  → python -m launch prefetch {plan.recipe.path}",
            soft_wrap=True,
        )


def _print(estimates: list[StepEstimate], profile: HardwareProfile, mean_completion: int | None) -> None:
    console = Console(highlight=False)
    table = Table(title=f"estimated for {profile.name}", title_justify="left", box=None, pad_edge=False)
    table.add_column("step", no_wrap=True)
    for heading in ("written", "trained", "PFLOP", "hours", "disk"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("GiB of a trainer device", overflow="fold")
    table.add_column("of a server device", overflow="fold")
    evaluations = [estimate for estimate in estimates if estimate.evaluation]
    blank = [estimate for estimate in estimates if not (estimate.disk or estimate.tokens_written)]
    for estimate in [estimate for estimate in estimates if estimate not in evaluations and estimate not in blank]:
        table.add_row(*_row(estimate))
    if evaluations:
        table.add_row(*_row(_sum(evaluations)))
    console.print(table)
    hours = [estimate.hours for estimate in estimates if estimate.hours is not None]
    peak = max(estimate.disk_while_running for estimate in estimates)
    devices = f"{profile.processes} trainer device{'s' if profile.processes > 1 else ''}"
    together = f"{sum(hours):,.1f} hours one after the other with {devices}; " if hours else ""
    length = (
        f"{mean_completion:,} tokens a completion" if mean_completion else "completions of a quarter of their limit"
    )
    console.print(
        f"{together}{amount(sum(estimate.disk for estimate in estimates), 'B')} of disk, and up to "
        f"{amount(peak, 'B')} more while a step trains\nassumed: {length} on average (--mean-completion), "
        f"{profile.utilisation:.0%} of the devices' peak; memory is for the longest rows"
    )
    if blank:
        console.print(f"not estimated: {', '.join(estimate.step for estimate in blank)}")


def _row(estimate: StepEstimate) -> list[str]:
    return [
        estimate.step,
        amount(estimate.tokens_written),
        amount(estimate.tokens_trained),
        amount(estimate.flops / 1e15),
        _hours(estimate.hours),
        amount(estimate.disk, "B"),
        parts_line(estimate),
        _server(estimate.server),
    ]


def _sum(evaluations: list[StepEstimate]) -> StepEstimate:
    hours = [estimate.hours for estimate in evaluations if estimate.hours is not None]
    return StepEstimate(
        step=f"{len(evaluations)} evaluations",
        tokens_written=sum(estimate.tokens_written for estimate in evaluations),
        hours=sum(hours) if hours else None,
        disk=sum(estimate.disk for estimate in evaluations),
    )


def amount(value: float, unit: str = "") -> str:
    """1,234,567 -> 1.23M. Decimal steps, as disks and tokens are counted."""
    if value <= 0:
        return "–"
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}{unit}"
    return f"{value:.3g}{unit}"


def _hours(hours: float | None) -> str:
    if hours is None:
        return "–"
    return f"{hours:.1f}" if hours >= 0.1 else f"{hours * 60:.1f} min"


def parts_line(estimate: StepEstimate) -> str:
    """`63.7: optimizer 15.3, activations 12.8, weights 7.6`: the sum and its largest parts."""
    if not estimate.trainer:
        return "–"
    largest = sorted(estimate.trainer, key=lambda name: -estimate.trainer[name])[:SHOWN_PARTS]
    shares = ", ".join(f"{name} {estimate.trainer[name] / GIB:.1f}" for name in largest)
    return f"{estimate.trainer_bytes / GIB:.1f}: {shares}"


def _server(server: ServerMemory | None) -> str:
    if server is None:
        return "–"
    return f"weights {server.weights / GIB:.1f} GiB, cache {amount(server.tokens)} tokens"
