"""Figures in the documents are those of docs/figures: here, and in small projects made to disagree."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from benchmarks import figure_tables, figures, markers, measured
from benchmarks.figure_taking import take
from benchmarks.measured import COLUMNS, FIGURES, Found, Origin, shown, update
from reasoning_pipeline.errors import DataError

PROJECT = Path(__file__).resolve().parents[2]
ORIGIN = Origin(command="python -m benchmarks.limits", machine="here", date="2026-01-02")
README = "# P\n\nIt takes <!--=limits.push-->49<!--/--> ms of <!--=limits.push.limit-->100<!--/-->, "
README += "measured <!--=limits.push.date-->2026-01-02<!--/-->.\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """README with one figure, its row, no tables."""
    (tmp_path / FIGURES).mkdir(parents=True)
    (tmp_path / figure_tables.DECLARATIONS).write_text("{}\n")
    (tmp_path / "README.md").write_text(README)
    (tmp_path / measured.MEASURED).write_text(",".join(COLUMNS) + "\n")
    update([Found(name="limits.push", value=49.4, unit="ms", limit=100)], ORIGIN, project=tmp_path)
    row(tmp_path, "limits.push", format=".0f")
    return tmp_path


def row(project: Path, name: str, **cells: object) -> None:
    path = project / measured.MEASURED
    lines = list(csv.DictReader(path.read_text().splitlines()))
    for line in lines:
        if line["name"] == name:
            line.update({key: str(value) for key, value in cells.items()})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def said(project: Path) -> str:
    return "\n".join(map(str, figures.check(project)))


def test_the_documents_say_what_the_csvs_say() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.figures", "--check"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(markers.used_names()) > 100  # the check looked at something


@pytest.mark.parametrize("path", markers.documents(PROJECT), ids=lambda path: path.name)
def test_markers_do_not_change_the_page(path: Path) -> None:
    """The page with markers, comments taken out, is the page of a text without them."""
    text = path.read_text(encoding="utf-8")
    page = MarkdownIt("commonmark").enable("table")
    with_markers = re.sub(r"<!--.*?-->", "", page.render(text))
    assert with_markers.split() == page.render(re.sub(r"<!--.*?-->", "", text)).split()


def test_a_small_project_is_in_order(project: Path) -> None:
    assert said(project) == ""


def test_a_changed_digit_is_named_with_place_found_expected_and_remedy(project: Path) -> None:
    (project / "README.md").write_text(README.replace("49", "48"))
    assert said(project) == (
        'README.md:3: found "48" for limits.push, expected "49"\n'
        "  → python -m benchmarks.figures --write; `python -m benchmarks.limits` measures it"
    )


def test_write_puts_it_right(project: Path) -> None:
    (project / "README.md").write_text(README.replace("49", "48").replace(">100<", ">0<").replace("-02<", "-03<"))
    assert figures.write(project) == ["README.md"]
    assert (project / "README.md").read_text() == README
    assert figures.write(project) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a <!--=limits.pusch-->49<!--/--> b", 'found "limits.pusch", expected a row of docs/figures/measured.csv'),
        ("a <!--=limits.pusch-->49<!--/--> b", 'did you mean "limits.push"?'),
        ("a <!--=limits.push-->49 b", "half a marker"),
        ("a 49<!--/--> b", "half a marker"),
        ("<!--=limits.push-->49<!--/--> ms", "a marker begins the line"),
        ("- <!--=limits.push-->49<!--/--> ms", "a marker begins the line"),
        ("<!-- table: demo -->", "<!-- /table --> ends the table"),
        ("<!-- table: demo -->\n<!-- /table -->", 'README.md:5: found no table is called "demo"'),
        ("## Measured\n\nIt took 1.5 s.", 'README.md:7: found "1.5", which nothing generates'),
        ("## The demo\n\n### More\n\n| a | 12,345.6 |", 'found "12,345.6", which nothing generates'),
    ],
)
def test_what_is_wrong_with_a_text_is_said(project: Path, line: str, message: str) -> None:
    (project / "README.md").write_text(f"{README}\n{line}\n")
    assert message in said(project)


@pytest.mark.parametrize(
    "line",
    [
        "It took 1.5 s.",
        "## Measured\n\nPython <!--=-->3.11<!--/-->, `--rate 0.5`, arXiv 2605.12483, [here](a/1.5).",
        "## Measured\n\n```\n1.5 <!--=nothing-->\n```",
        "## Measured\n\n## Elsewhere\n\n1.5",
    ],
)
def test_what_is_no_figure_is_left_alone(project: Path, line: str) -> None:
    (project / "README.md").write_text(f"{README}\n{line}\n")
    assert said(project) == ""


def test_evidence_is_guarded_everywhere(project: Path) -> None:
    (project / "docs" / "evidence.md").write_text("# Evidence\n\nThe gain was 5.2 points.\n")
    assert 'docs/evidence.md:3: found "5.2", which nothing generates' in said(project)


def test_a_row_that_no_document_shows_is_an_error_unless_it_says_why(project: Path) -> None:
    (project / "README.md").write_text("nothing\n")
    assert "docs/figures/measured.csv: found limits.push, expected a document that shows it" in said(project)
    row(project, "limits.push", note="unused: waits for evidence.md")
    assert said(project) == ""


@pytest.mark.parametrize(("cells", "message"), [({"value": "4g"}, "could not convert"), ({"format": ".0z"}, "format")])
def test_a_row_that_cannot_be_read_is_named(project: Path, cells: dict[str, str], message: str) -> None:
    row(project, "limits.push", **cells)
    with pytest.raises(DataError, match=rf"measured.csv:2: limits.push: (?i:.*{message})"):
        measured.read(project)


def test_saving_stores_what_documents_name_and_keeps_the_format(project: Path) -> None:
    found = [Found(name="limits.push", value=51.6, unit="ms", limit=100), Found(name="limits.other", value=1)]
    assert update(found, ORIGIN, "busy", project) == ["limits.push"]
    stored = measured.read(project)
    assert stored.keys() == {"limits.push"}
    assert (stored["limits.push"].shown(), stored["limits.push"].note) == ("52", "busy")


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.58398, ".1p", "58.4"), (0.052, "+.1p", "+5.2"), (27744, ",.0f", "27,744"), (5.72e-6, ".0e", "6e-6"),
        (1.3e-10, ".1e", "1.3e-10"), (0.0, ".1e", "0"), (2e-4, "pvalue", "< 0.001"), (0.04, "pvalue", "0.040"),
    ],
)  # fmt: skip
def test_formats(value: float, form: str, text: str) -> None:
    assert shown(value, form) == text


ARMS = """arm,suite,mean,low,high,difference,p_holm,published,cpu_hours,later
main,arithmetic,0.9,0.88,0.92,,,half_bridge_stage3,0.1,x
main,arithmetic_hard,0.8,0.7,0.9,,,half_bridge_stage3,0.1,x
direct,arithmetic,0.85,0.8,0.9,-0.05,0.0004,direct_grpo,0.05,x
direct,arithmetic_hard,0.7,0.6,0.8,-0.1,0.2,direct_grpo,0.05,x
"""
TABLES = """
few:
  source: few_arms.csv
  row: arm
  pivot: suite
  columns:
    arm: "`{arm}`"
    test: "{arithmetic.mean:.1p} [{arithmetic.low:.1p}, {arithmetic.high:.1p}]"
    p: ["{arithmetic.p_holm:pvalue}"]
    hard: "{arithmetic_hard.mean:.1p}"
    CPU min: "{cpu_hours*60:.1f}"
    paper: ["{published_difference:+.1f}"]
"""


def test_a_table_is_rendered_from_the_csv_that_was_taken(project: Path) -> None:
    (project / "report_arms.csv").write_text(ARMS)
    (project / figure_tables.DECLARATIONS).write_text(TABLES)
    marked = (
        "x\n\n<!-- table: few -->\nold\n<!-- /table -->\n\nHard: <!--=few.direct.arithmetic_hard.mean-->?<!--/-->.\n"
    )
    (project / "README.md").write_text(README + marked)
    take("arms", project / "report_arms.csv", "few", command="made by hand", project=project)
    assert 'README.md:7: found "old" in table few, expected ""' in said(project)
    figures.write(project)
    assert said(project) == ""
    assert (project / "README.md").read_text() == README + (
        "x\n\n<!-- table: few -->\n\n"
        "| arm | test | p | hard | CPU min | paper |\n"
        "|---|---|---|---|---|---|\n"
        "| `main` | 90.0 [88.0, 92.0] | – | 80.0 | 6.0 | – |\n"
        "| `direct` | 85.0 [80.0, 90.0] | < 0.001 | 70.0 | 3.0 | -2.6 |\n"  # 75.9 - 78.5, published
        "\n<!-- /table -->\n\nHard: <!--=few.direct.arithmetic_hard.mean-->0.7<!--/-->.\n"
    )
    stored = project / FIGURES / "few_arms.csv"
    stored.write_text(stored.read_text().replace("0.85", "0.86"))
    assert 'README.md:11: found "| `direct` | 85.0' in said(project)


def test_a_column_that_no_line_has_is_an_error(project: Path) -> None:
    (project / "report_arms.csv").write_text(ARMS)
    (project / figure_tables.DECLARATIONS).write_text(TABLES.replace("cpu_hours*60", "cpu_hour*60"))
    take("arms", project / "report_arms.csv", "few", project=project)
    with pytest.raises(DataError, match=r"few_arms\.csv has no cpu_hour\n"):
        figure_tables.render("few", project)


def test_a_table_whose_run_is_missing_is_said_and_left_alone(project: Path) -> None:
    (project / figure_tables.DECLARATIONS).write_text(TABLES)
    text = README.replace("49", "?") + "\n<!-- table: few -->\nold\n<!-- /table -->\n"
    (project / "README.md").write_text(text)
    figures.write(project)
    assert (project / "README.md").read_text() == text.replace("?", "49")
    assert said(project).startswith("README.md:5: found docs/figures/few_arms.csv is not there, expected")


def test_a_stored_csv_without_origin_is_named(project: Path) -> None:
    (project / FIGURES / "few_arms.csv").write_text(ARMS)
    assert "docs/figures/sources.csv: found few_arms.csv without a line" in said(project)


def test_records_beside_a_report_give_figures_by_name(project: Path) -> None:
    run = project / "runs" / "demo"
    artifact = project / "runs" / "registry" / "measure-1"
    for folder in (run, artifact):
        folder.mkdir(parents=True)
    (run / "report.csv").write_text("step,suite,after_mean\nwarmup,arithmetic,0.5\n")
    (run / "plan.json").write_text(json.dumps({"steps": [{"name": "warmup.c2", "output": "measure-1"}]}))
    hardware = {"cpus": 2, "cpu": "AMD EPYC", "memory_gib": 23.5, "gpus": []}
    provenance = {"command": "python -m x", "python": "3.11.7", "hardware": hardware}
    record = {"step": "old", "created": "2026-03-04T05:06:07", "result": {"kl_interval": [0.1, 0.3]}}
    (artifact / "record.json").write_text(json.dumps(record | {"provenance": provenance}))
    (artifact / "metrics.jsonl").write_text('{"loss": 3.0}\n{"loss": 1.0}\n{"loss": 1.5}\n')
    names = ["demo.warmup.arithmetic.after_mean", "demo.warmup.c2.kl_interval.1", "demo.warmup.c2.metrics.loss.middle"]
    (project / "README.md").write_text(README + "x" + " ".join(f"<!--={name}-->?<!--/-->" for name in names) + "\n")
    assert take("report", run / "report.csv", "demo", project=project) == ["docs/figures/demo_report.csv", *names]
    rows = measured.read(project)
    assert [rows[name].value for name in names] == [0.5, 0.3, 1.5]
    assert rows[names[1]].machine == "2 cores of AMD EPYC, 24 GiB, no GPU, Python 3.11"
    assert (rows[names[1]].date, rows[names[1]].command) == ("2026-03-04", "python -m x")


def test_every_declared_table_with_a_file_can_be_rendered() -> None:
    for name, table in figure_tables.declarations(PROJECT).items():
        if (PROJECT / FIGURES / table.source).is_file():  # the others wait for their run
            assert len(figure_tables.render(name)) > 4


def test_a_picture_is_that_of_its_csv(project: Path) -> None:
    rows = ["arm,suite,mean,low,high,by_seed,labels,curve"]
    for suite in ("arithmetic", "arithmetic_hard"):
        rows += [f"main,{suite},0.9,0.88,0.92,0.91 0.89,1024,", f"no_warmup,{suite},0.8,0.75,0.85,0.8 0.8,1024,"]
    source = project / FIGURES / "miniature_arms.csv"
    source.write_text("\n".join(rows) + "\n")
    take("arms", source, "miniature", command="made by hand", project=project)
    assert "docs/figures/miniature_arms.svg: found no picture" in said(project)
    figures.write(project)
    assert said(project) == ""
    picture = source.with_suffix(".svg")
    drawn = picture.read_text()
    assert ">90.0<" in drawn and ">no_warmup<" in drawn
    # Another processor may round a position otherwise; another value is another picture.
    picture.write_text(re.sub(r'x="(\d+\.\d{2})\d*"', r'x="\1"', drawn))
    assert said(project) == ""
    source.write_text(source.read_text().replace("0.8,0.75", "0.7,0.65"))
    assert "docs/figures/miniature_arms.svg: found another picture" in said(project)
