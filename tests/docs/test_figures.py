"""Tables and pictures in the documents are what the CSVs in docs/figures give: here, and in a small project."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from benchmarks import figure_tables
from benchmarks.figure_tables import DECLARATIONS, FIGURES, shown
from benchmarks.figures import outdated
from benchmarks.shared import PROJECT
from reasoning_pipeline.errors import DataError


def test_tables_and_pictures_are_what_their_csvs_give() -> None:
    assert [str(path.relative_to(PROJECT)) for path in outdated()] == [], "`make figures` renders them"


def test_every_declared_table_can_be_rendered() -> None:
    for name in figure_tables.declarations(PROJECT):
        assert len(figure_tables.render(name, PROJECT)) > 4


def test_every_csv_says_where_it_comes_from() -> None:
    with (PROJECT / FIGURES / "sources.csv").open(encoding="utf-8", newline="") as file:
        sources = list(csv.DictReader(file))
    stored = {path.name for path in (PROJECT / FIGURES).glob("*.csv")} - {"sources.csv"}
    assert {line["file"] for line in sources} == stored
    assert all(line["command"] and line["machine"] and line["date"] for line in sources)


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
    p: "{arithmetic.p_holm:pvalue}"
    hard: ["{arithmetic_hard.mean:.1p} ({arithmetic_hard.difference:+.1p})", "{arithmetic_hard.mean:.1p}"]
    CPU min: "{cpu_hours*60:.1f}"
    paper: "{published_difference:+.1f}"
"""
RENDERED = """x

<!-- table: few -->

| arm | test | p | hard | CPU min | paper |
|---|---|---|---|---|---|
| `main` | 90.0 [88.0, 92.0] | – | 80.0 | 6.0 | – |
| `direct` | 85.0 [80.0, 90.0] | < 0.001 | 70.0 (-10.0) | 3.0 | -2.6 |

<!-- /table -->

y
"""  # the paper's column: 75.9 - 78.5, published


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """README with one table, and its CSV."""
    (tmp_path / FIGURES).mkdir(parents=True)
    (tmp_path / DECLARATIONS).write_text(TABLES)
    (tmp_path / FIGURES / "few_arms.csv").write_text(ARMS)
    (tmp_path / "README.md").write_text(RENDERED)
    return tmp_path


def test_a_table_is_rendered_from_its_csv(project: Path) -> None:
    readme = project / "README.md"
    assert outdated(project) == {}
    readme.write_text(RENDERED.replace("85.0 [", "86.0 ["))
    assert outdated(project) == {readme: RENDERED}
    readme.write_text(re.sub(r"-->\n\n.*\n\n<!--", "-->\n<!--", RENDERED, flags=re.DOTALL))
    assert outdated(project) == {readme: RENDERED}
    (project / FIGURES / "few_arms.csv").write_text(ARMS.replace("0.85", "0.86"))
    assert outdated(project) == {readme: RENDERED.replace("85.0 [", "86.0 [")}


@pytest.mark.parametrize(
    ("file", "before", "after", "message"),
    [
        ("README.md", "<!-- /table -->", "", r'README.md:3: "<!-- table: few -->" is half a table'),
        ("README.md", "<!-- /table -->", "<!-- /table --> z", r'README.md:3: "<!-- table: few -->" is half a table'),
        ("README.md", "<!-- table: few -->", "", r'README.md:10: "<!-- /table -->" is half a table'),
        ("README.md", "table: few", "table: many", r'no table is called "many"'),
        ("docs/figures/tables.yaml", "cpu_hours*60", "cpu_hour*60", r"few_arms\.csv has no cpu_hour\n"),
        ("docs/figures/tables.yaml", "few_arms.csv", "some_arms.csv", r"docs/figures/some_arms\.csv is not there"),
    ],
)
def test_what_cannot_be_rendered_is_said(project: Path, file: str, before: str, after: str, message: str) -> None:
    (project / file).write_text((project / file).read_text().replace(before, after))
    with pytest.raises(DataError, match=message):
        outdated(project)


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.58398, ".1p", "58.4"), (0.052, "+.1p", "+5.2"), (27744, ",.0f", "27,744"), (5.72e-6, ".0e", "6e-6"),
        (1.3e-10, ".1e", "1.3e-10"), (0.0, ".1e", "0"), (2e-4, "pvalue", "< 0.001"), (0.04, "pvalue", "0.040"),
    ],
)  # fmt: skip
def test_formats(value: float, form: str, text: str) -> None:
    assert shown(value, form) == text


def test_a_picture_is_that_of_its_csv(project: Path) -> None:
    rows = ["arm,suite,mean,low,high,by_seed,labels,curve"]
    for suite in ("arithmetic", "arithmetic_hard"):
        rows += [f"main,{suite},0.9,0.88,0.92,0.91 0.89,1024,", f"no_warmup,{suite},0.8,0.75,0.85,0.8 0.8,1024,"]
    source, picture = (project / FIGURES / f"miniature_arms.{ending}" for ending in ("csv", "svg"))
    source.write_text("\n".join(rows) + "\n")
    drawn = outdated(project)[picture]
    assert ">90.0<" in drawn and ">no_warmup<" in drawn
    # Another processor may round a position otherwise; another value is another picture.
    picture.write_text(re.sub(r'x="(\d+\.\d{2})\d*"', r'x="\1"', drawn))
    assert outdated(project) == {}
    source.write_text(source.read_text().replace("0.8,0.75", "0.7,0.65"))
    assert list(outdated(project)) == [picture]
