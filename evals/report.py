"""One self-contained HTML page per evaluation: tables, plots, every problem, any sample.

Everything a model wrote is hostile until escaped: the template escapes by itself, samples travel as JSON in which "<"
cannot occur, and the page's script puts them on screen as text and never as HTML.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from reasoning_pipeline.base.files import write_text
from reasoning_pipeline.base.text import excerpt, percent
from reasoning_pipeline.records import Problem

from . import plots
from .results import EvaluationResult
from .samples import NO_ANSWER, Sample, SampleFile, read_problems
from .summary import Summary

TEMPLATES = Path(__file__).resolve().parent / "templates"
TEXT_BUDGET = 24_000_000
"""Characters of model text on one page; beyond it each text keeps its beginning and end (all of it: samples.jsonl)."""
SHORTEST_EXCERPT = 300


def write_page(result: EvaluationResult) -> Path:
    """Writes `report.html` into the result's folder and returns its path."""
    rows_of = {name: _suite_rows(result.folder / name, summary) for name, summary in result.summaries.items()}
    count = sum(summary.samples * len(summary.scores) for summary in result.summaries.values())
    limit = max(SHORTEST_EXCERPT, TEXT_BUDGET // max(1, count))
    sections = [
        {
            "summary": summary,
            "plots": _plots(summary, [sample for _, samples in rows for sample in samples]),
            "data": for_script([_problem_entry(p, samples, summary.profile, limit) for p, samples in rows]),
        }
        for summary, rows in ((result.summaries[name], rows) for name, rows in rows_of.items())
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters.update(percent=percent, pretty=lambda value: json.dumps(value, indent=1, ensure_ascii=False))
    page = environment.get_template("report.html.j2").render(
        result=result,
        sections=sections,
        overview=plots.intervals(_overview(result), title="Score, with its 95 % interval (problems drawn)"),
    )
    path = result.folder / "report.html"
    write_text(path, page)
    return path


def for_script(value: Any) -> Markup:
    """JSON for a script element. With "<", ">" and "&" escaped no content can close the element or open a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # escaped above, for JSON and not for HTML text


def _shortened(text: str, limit: int) -> str:
    return excerpt(text, limit, f"\n[… {len(text) - limit:,} characters left out; all of them in samples.jsonl …]\n")


def _suite_rows(folder: Path, summary: Summary) -> list[tuple[Problem, list[Sample]]]:
    stored = SampleFile(folder / "samples.jsonl", summary.profile).read()
    problems = {problem.id: problem for problem in read_problems(folder / "problems.jsonl")}
    return [(problems[name], [stored[name, index] for index in range(summary.samples)]) for name in summary.scores]


def _problem_entry(problem: Problem, samples: Sequence[Sample], profile: str, limit: int) -> dict[str, Any]:
    return {
        "id": problem.id,
        "question": problem.question,
        "answer": problem.answer,
        "meta": ", ".join(f"{name} {value}" for name, value in problem.meta.items()),
        "samples": [
            {
                "status": sample.judged(profile).status,
                "strict": sample.strict.status,
                "rule": sample.judged(profile).rule,
                "extracted": sample.extracted,
                "tokens": sample.tokens,
                "finish": sample.finish,
                "text": _shortened(sample.text, limit),
            }
            for sample in samples
        ],
        "outcomes": _outcomes(samples, profile),
    }


def _outcomes(samples: Sequence[Sample], profile: str) -> list[str]:
    """The filters a problem appears under."""
    statuses = [sample.judged(profile).status for sample in samples]
    right = sum(status == "correct" for status in statuses)
    found = ["all right" if right == len(statuses) else "some right" if right else "none right"]
    if any(sample.finish == "length" for sample in samples):
        found.append("truncated")
    if any(status in NO_ANSWER for status in statuses):
        found.append("no answer")
    if any(status in ("timeout", "error", "reference_unparsed") for status in statuses):
        found.append("not judged")
    if any((s.strict.status == "correct") != (s.lenient.status == "correct") for s in samples):
        found.append("profiles disagree")
    return found


def _overview(result: EvaluationResult) -> list[tuple[str, float, float, float]]:
    scores = {name: summary.score for name, summary in result.summaries.items()} | dict(result.pooled)
    return [(name, e.mean, e.low, e.high) for name, e in scores.items() if e is not None]


def _plots(summary: Summary, samples: Sequence[Sample]) -> list[Markup]:
    right = [s.tokens for s in samples if s.judged(summary.profile).status == "correct"]
    wrong = [s.tokens for s in samples if s.judged(summary.profile).status != "correct"]
    means = [sum(kept) / len(kept) for row in summary.scores.values() if (kept := [s for s in row if s is not None])]
    drawn = [
        plots.histogram(
            {"problems": means}, title="How often a problem is solved", x_label="share right", bins=17, most=1.0
        ),
        plots.histogram({"right": right, "wrong": wrong}, title="Length of answers", x_label="tokens"),
    ]
    if summary.samples > 1:
        curves = {"pass@k": summary.pass_at, "maj@k": summary.maj_at}
        drawn.insert(0, plots.lines(curves, title="With k samples", x_label="k"))
    return [plot for plot in drawn if plot]
