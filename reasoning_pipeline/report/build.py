"""Writes the page and the CSV. One file each, self-contained: no script, no font, no picture from anywhere else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from reasoning_pipeline.base import files
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.recipe.sections import sections
from reasoning_pipeline.report.parts import parts

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan

TEMPLATES = Path(__file__).with_name("templates")

ACCURACY_COLUMNS = ("mean", "se_drawn", "se_fixed", "low", "high", "problems", "samples", "truncated", "no_answer")
CSV_COLUMNS = (
    *("step", "stage", "role", "policy", "state", "suite"),
    *(f"before_{name}" for name in ("mean", "se_drawn")),
    *(f"after_{name}" for name in ACCURACY_COLUMNS),
    *("gain", "gain_se", "labels", "labels_here", "seconds"),
)


def write_report(plan: Plan, path: Path) -> Path:
    """One HTML page about everything the plan's registry holds; what is missing is named.

    Reads records, metrics and samples; never weights. The same artifacts give the same bytes.
    """
    import jinja2

    from reasoning_pipeline.base import text
    from reasoning_pipeline.report import results
    from reasoning_pipeline.report.arms import outcomes as arms
    from reasoning_pipeline.report.arms import text as arm_text
    from reasoning_pipeline.report.checkpoint_chart import signed
    from reasoning_pipeline.report.page import make_page

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([TEMPLATES, *(part.templates for part in parts() if part.templates)]),
        autoescape=True,  # model text is untrusted: nothing reaches the page unescaped
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = (text.percent, results.with_error, results.minutes, results.change, signed)
    compared = (arm_text.interval, arm_text.points, arm_text.p_value, text.hours, arm_text.rate)
    measured = (arms.per_100_labels, arms.per_cpu_minute)
    environment.filters |= {formatter.__name__: formatter for formatter in (*shown, *compared, *measured)}
    return write_text(path, environment.get_template("report.html.j2").render(page=make_page(plan)))


def write_csv(plan: Plan, path: Path) -> Path:
    """The results table, tidy: one row per checkpoint and suite, shares of 1, empty where nothing was measured."""
    from reasoning_pipeline.report.checkpoint_chart import all_gains
    from reasoning_pipeline.report.results import stage_results, suites

    gains = all_gains(plan)
    rows = []
    for result in stage_results(plan):
        same = {name: getattr(result, name) for name in CSV_COLUMNS if hasattr(result, name)}
        for suite in suites(plan) or ("",):
            row = same | {"suite": suite}
            for when, accuracy in (("before", result.before.get(suite)), ("after", result.after.get(suite))):
                if accuracy is not None:
                    cells = {f"{when}_{name}": getattr(accuracy, name) for name in ACCURACY_COLUMNS}
                    row |= {name: value for name, value in cells.items() if name in CSV_COLUMNS}
            if (gain := gains.get((result.step, suite))) is not None:
                row |= {"gain": gain.difference, "gain_se": gain.se}
            rows.append(row)
    return write_text(path, files.table(CSV_COLUMNS, rows))


MARKS = tuple(section.key for section in sections() if section.in_arms)
ARM_COLUMNS = (
    *("arm", "suite", "outcome", "seeds", "problems", "mean", "se", "low", "high", "labels", "label_uses"),
    *("difference", "difference_se", "difference_low", "difference_high", "p", "p_holm"),
    *("wall_hours", "cpu_hours", "gpu_hours", "cpu_hours_after_base", "by_seed"),
    *("lacks", *MARKS, "curve", "mean_tokens", "start", "gain_per_100_labels", "gain_per_cpu_minute"),
)


def write_arms_csv(plan: Plan, path: Path) -> Path:
    """One row per arm and suite: accuracy over problems and seeds, difference to the main arm, labels, cost."""
    from reasoning_pipeline.report.arms.outcomes import arm_results, per_100_labels, per_cpu_minute
    from reasoning_pipeline.report.results import suites

    rows = []
    for result in arm_results(plan):
        for suite in suites(plan):
            row: dict[str, object] = {"arm": result.arm, "suite": suite, "outcome": result.outcome}
            row |= {"labels": result.labels, "label_uses": result.uses, "p_holm": result.p_holm.get(suite)}
            row["seeds"] = " ".join(map(str, result.seeds))
            if (found := result.accuracy.get(suite)) is not None:
                row |= {name: getattr(found, name) for name in ("problems", "mean", "se", "low", "high")}
                row["by_seed"] = " ".join(f"{value:.6g}" for value in found.by_seed)
            if (to_main := result.difference.get(suite)) is not None:
                row |= {f"difference_{name}": getattr(to_main, name) for name in ("se", "low", "high")}
                row |= {"difference": to_main.mean, "p": to_main.p}
            row |= vars(result.cost) if result.cost is not None else {}
            row |= {name: getattr(result, name) for name in ("lacks", "curve")}
            row |= {key: as_text(result.sections.get(key)) for key in MARKS}
            row |= {"mean_tokens": result.mean_tokens.get(suite), "start": result.start.get(suite)}
            row["cpu_hours_after_base"] = result.after_base.cpu_hours if result.after_base is not None else None
            row["gain_per_100_labels"] = per_100_labels(result, suite)
            row["gain_per_cpu_minute"] = per_cpu_minute(result, suite)
            rows.append(row)
    return write_text(path, files.table(ARM_COLUMNS, rows))


def as_text(mark: BaseModel | None) -> str:
    """What a section says of an arm, as it was written."""
    return "" if mark is None else str(mark.model_dump())


def write_part_tables(plan: Plan, path: Path) -> list[Path]:
    """The tables of workflows, each beside the page and called after it."""
    return [
        write_text(path.with_name(f"{path.stem}_{table.name}.csv"), files.table(table.columns, table.rows))
        for part in parts()
        for table in part.tables(plan)
    ]


def write_text(path: Path, text: str) -> Path:
    """All or nothing: an open page is never half a page."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, text)
    except OSError as error:
        message = f"{path}: could not be written ({error.strerror})"
        raise PipelineError(message, remedy="free space or choose another place") from error
    return path
