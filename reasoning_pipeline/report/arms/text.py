"""Arms as text: intervals, points, p-values, hours, and the table that a run of several arms ends with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasoning_pipeline.base.text import hours
from reasoning_pipeline.report.arms.outcomes import arm_results
from reasoning_pipeline.report.results import suites

if TYPE_CHECKING:
    from rich.table import Table

    from reasoning_pipeline.plan.graph import Plan
    from reasoning_pipeline.statistics.over_seeds import Crossed


def interval(estimate: Crossed | None) -> str:
    """`92.9 [87.7, 98.1]`, in percent."""
    if estimate is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{100 * estimate.mean:.1f}"
    return f"{100 * estimate.mean:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def points(estimate: Crossed | None) -> str:
    """`−2.0 [−4.1, +0.1]`, in points."""
    if estimate is None:
        return "–"
    ends = ""
    if estimate.low is not None and estimate.high is not None:
        ends = f" [{100 * estimate.low:+.1f}, {100 * estimate.high:+.1f}]"
    return f"{100 * estimate.mean:+.1f}{ends}".replace("-", "−")


def p_value(p: float | None) -> str:
    """`0.003`, `< 0.001`."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def rate(share: float | None) -> str:
    """`+6.3`: points gained per something."""
    return "–" if share is None else f"{100 * share:+.3g}".replace("-", "−")


def arms_table(plan: Plan) -> Table:
    """The table that a run of several arms ends with."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("arm", overflow="fold")
    for suite in suites(plan):
        table.add_column(f"{suite}, %", justify="right", overflow="fold")
        table.add_column("vs main", justify="right", overflow="fold")
    table.add_column("labels", justify="right")
    table.add_column("made in", justify="right")
    for result in arm_results(plan):
        cells = [result.arm + (f"\nseeds {', '.join(map(str, result.missing))} missing" if result.missing else "")]
        for suite in suites(plan):
            cells.append(interval(result.accuracy.get(suite)).replace(" [", "\n["))
            p = f"\np {p_value(result.p_holm[suite])}" if suite in result.p_holm else ""
            cells.append(points(result.difference.get(suite)).partition(" [")[0] + p)
        cost = hours(result.cost.wall_hours) if result.cost is not None else "–"
        table.add_row(*cells, f"{result.labels:,}", cost, style="dim" if not result.seeds else "")
    count = len(plan.seeds)
    over = f"problems and {count} seeds" if count > 1 else "problems, one seed"
    table.caption = f"95 % intervals over {over}; differences paired, p corrected for the number of arms (Holm)"
    table.caption_justify = "left"
    return table
