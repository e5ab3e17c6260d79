"""Our arms beside the published table: sign and order, and what is within noise on either side.

Sizes cannot be compared: other models, another task, other labels. Noise here: the paired difference to the main arm
does not differ from 0 after Holm's correction. Noise there: published.py says what is assumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_pipeline.base.files import table
from reasoning_pipeline.report.arms.earned import SIGNIFICANT
from reasoning_pipeline.report.arms.outcomes import ArmResult, arm_results, shorter_on_a_curve
from reasoning_pipeline.report.arms.text import interval, p_value, points
from reasoning_pipeline.report.build import write_text
from reasoning_pipeline.report.results import suites
from reasoning_pipeline.workflows.reasoning.published import (
    NOISE,
    PAPER,
    ROWS,
    STANDARD_ERROR,
    PublishedDifference,
    published_difference,
    row_of,
)

if TYPE_CHECKING:
    from rich.console import Group

    from reasoning_pipeline.plan.graph import Plan
    from reasoning_pipeline.statistics.over_seeds import Crossed

COLUMNS = (
    *("arm", "suite", "published", "seeds", "mean", "low", "high"),
    *("difference", "difference_low", "difference_high", "p_holm"),
    *("paper_math500", "paper_aime24", "paper_difference_math500", "paper_difference_aime24"),
    *("paper_noise_math500", "same_protocol", "source", "verdict"),
)


@dataclass(frozen=True, kw_only=True)
class PaperLine:
    """One arm on one suite, beside its published row.

    Example:
        PaperLine(arm="replay", suite="arithmetic", row="half_replay", ours=ArmResult(…),
                  theirs=PublishedDifference(math500=-2.8, aime24=-2.1, same_protocol=True),
                  verdict="same sign, within noise there")
    """

    arm: str
    suite: str
    row: str | None
    ours: ArmResult
    theirs: PublishedDifference | None
    """To the main arm's row; None where either is not published, and for the main arm itself."""
    verdict: str


def paper_lines(plan: Plan) -> list[PaperLine]:
    """Arms in the recipe's order, the main arm first, under each suite; points of a curve are left out."""
    results = arm_results(plan)
    asking = [result for result in results if not shorter_on_a_curve(result, results)]
    return [_line(result, suite, results[0]) for suite in suites(plan) for result in asking]


def _line(result: ArmResult, suite: str, main: ArmResult) -> PaperLine:
    theirs = published_difference(row_of(result.sections), row_of(main.sections)) if result is not main else None
    if result is main:
        verdict = "compared with" if row_of(main.sections) else "not published"
    elif row_of(result.sections) is None:
        verdict = "not in the paper"
    elif theirs is None:
        verdict = "not published"
    elif (ours := result.difference.get(suite)) is None:
        verdict = "not scored yet"
    else:
        verdict = judged(ours, result.p_holm.get(suite), theirs)
    return PaperLine(
        arm=result.arm, suite=suite, row=row_of(result.sections), ours=result, theirs=theirs, verdict=verdict
    )


def judged(ours: Crossed, p: float | None, theirs: PublishedDifference) -> str:
    """Example: `same sign, within noise there`."""
    if ours.mean == 0 or theirs.math500 == 0:
        return f"no difference {'here' if ours.mean == 0 else 'there'}"
    sign = "same" if (ours.mean < 0) == (theirs.math500 < 0) else "opposite"
    # Without a test (a single problem) nothing is known to stand out.
    noise = {"here": p is None or p >= SIGNIFICANT, "there": theirs.within_noise}
    noisy = [place for place, there in noise.items() if there]
    return f"{sign} sign, " + (f"within noise {' and '.join(noisy)}" if noisy else "both outside noise")


def caption(seeds: int) -> str:
    """What the verdicts rest on. Said with every table, because the assumptions are ours."""
    over = f"problems and {seeds} seeds" if seeds > 1 else "problems; one seed says nothing about others"
    return (
        f"Only sign and order can be compared with {PAPER}: models, task and labels are others. Ours: 95 % interval "
        f"over {over}; within noise is p ≥ {SIGNIFICANT:g} after Holm. Theirs: one training run a row. The standard "
        f"error of a row is assumed to be {STANDARD_ERROR['MATH-500']:g} points on MATH-500 and "
        f"{STANDARD_ERROR['AIME24']:g} on AIME24 (what the paper prints there is below the least possible), so that "
        f"differences under {NOISE['MATH-500']:.1f} and {NOISE['AIME24']:.0f} are within noise: two rows as if "
        f"unpaired, an upper bound over problems. Verdicts use MATH-500. * labels are divided otherwise than in the "
        f"main arm's row, so that more than the arm's one change differs."
    )


def paper_tables(lines: Sequence[PaperLine], seeds: int) -> Group:
    """One table a suite, legible in 80 columns, and the caption."""
    from rich import box
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    tables: list[Padding | Text] = []
    for suite in dict.fromkeys(line.suite for line in lines):
        table = Table(
            title=suite,
            title_justify="left",
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            collapse_padding=True,
        )
        table.add_column("arm\npublished row", no_wrap=True)
        table.add_column("%", justify="right")
        table.add_column("vs main", justify="right")
        table.add_column("MATH-500\nAIME24", justify="right")
        table.add_column("vs its\nmain", justify="right")
        table.add_column("verdict", max_width=20)
        for line in (line for line in lines if line.suite == suite):
            table.add_row(*_cells(line), style="" if line.row else "dim")
        tables.append(Padding(table, (0, 0, 1, 0)))
    return Group(*tables, Text(caption(seeds), style="dim"))


def _cells(line: PaperLine) -> Iterator[str]:
    ours, row = line.ours, ROWS[line.row] if line.row else None
    yield f"{line.arm}\n{line.row or ''}".rstrip()
    yield interval(ours.accuracy.get(line.suite)).partition(" ")[0]
    difference, p = ours.difference.get(line.suite), ours.p_holm.get(line.suite)
    figure, _, ends = points(difference).partition(" ")
    yield "\n".join(part for part in (figure, ends, f"p {p_value(p)}" if p is not None else "") if part)
    yield f"{row.math500:.1f}\n{row.aime24:.1f}" if row else "–"
    if line.theirs is None:
        yield "–"
    else:
        star = "" if line.theirs.same_protocol else "*"
        yield f"{line.theirs.math500:+.1f}{star}\n{line.theirs.aime24:+.1f}{star}".replace("-", "−")
    yield line.verdict


def write_paper_csv(lines: Sequence[PaperLine], path: Path) -> Path:
    """One row per arm and suite. Ours in shares of 1, theirs in points as printed."""
    rows = []
    for line in lines:
        found, difference = line.ours.accuracy.get(line.suite), line.ours.difference.get(line.suite)
        row: dict[str, object] = {"arm": line.arm, "suite": line.suite, "published": line.row, "verdict": line.verdict}
        row |= {"seeds": " ".join(map(str, line.ours.seeds)), "p_holm": line.ours.p_holm.get(line.suite)}
        if found is not None:
            row |= {name: getattr(found, name) for name in ("mean", "low", "high")}
        if difference is not None:
            row |= {"difference": difference.mean, "difference_low": difference.low, "difference_high": difference.high}
        if line.row is not None:
            published = ROWS[line.row]
            row |= {"paper_math500": published.math500, "paper_aime24": published.aime24, "source": published.source}
        if line.theirs is not None:
            row["paper_difference_math500"] = line.theirs.math500
            row["paper_difference_aime24"] = line.theirs.aime24
            row["paper_noise_math500"] = round(NOISE["MATH-500"], 2)
            row["same_protocol"] = line.theirs.same_protocol
        rows.append(row)
    return write_text(path, table(COLUMNS, rows))
