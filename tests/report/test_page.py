"""The page: self-contained, complete, honest about what is missing, and safe with what models write."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.report import write_report
from tests.bench import PROJECT
from tests.report.tiny_registry import RECIPE, RIGHT, finished, tiny_plan

PACKAGE = PROJECT / "reasoning_pipeline"
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Reader(HTMLParser):
    """Collects tags, attributes and text, and checks that every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(plan, tmp_path) -> str:
    return write_report(plan, tmp_path / "reports" / "tiny.html").read_text(encoding="utf-8")


def test_the_page_names_every_step_and_its_description(complete, tmp_path):
    read = Reader(page(complete, tmp_path))
    for name in complete.names():
        assert name in read.text
    assert "A tiny run." in read.text and "Nothing here is real." in read.text
    assert "Not finished" not in read.text
    assert "question p" in read.text and "math-verify" in read.text and "abacus" in read.text
    assert "verifier.sympy 1.14.0" in read.text


def test_the_page_loads_nothing_and_runs_nothing(complete, tmp_path):
    html = page(complete, tmp_path)
    read = Reader(html)
    assert not {tag for tag, _ in read.tags} & {"script", "img", "iframe", "object", "embed", "base", "form"}
    links = [v for _, attributes in read.tags for k, v in attributes.items() if k in ("href", "src", "xlink:href")]
    assert all(link is not None and link.startswith(("#", "data:")) for link in links)
    assert not any(k.startswith("on") for _, attributes in read.tags for k in attributes)
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style and "@import" not in style and "http" not in style


def test_text_of_a_model_stays_text(tmp_path):
    nasty = "<img src=x onerror=alert(1)></pre><script>alert(1)</script> {{ 7*7 }} \u202egnorw\u0000"
    read = Reader(page(finished(tmp_path, text=nasty), tmp_path))
    assert "<img src=x onerror=alert(1)></pre><script>alert(1)</script> {{ 7*7 }}" in read.text
    assert not {tag for tag, _ in read.tags} & {"script", "img"}
    assert "\u202e" not in read.text and "\u0000" not in read.text


def test_a_lone_surrogate_does_not_stop_the_page(tmp_path):
    page(finished(tmp_path, text="half an emoji: \ud83d"), tmp_path)


def test_long_text_is_bounded_and_keeps_its_end(tmp_path):
    html = page(finished(tmp_path, text="w" * 200_000 + r"\boxed{6}"), tmp_path)
    assert len(html) < 300_000
    assert r"\boxed{6}" in html and "characters left out" in html


def test_an_unfinished_run_says_what_is_missing(tmp_path):
    plan = finished(tmp_path, only=["teacher_base", "teacher_base.evaluate", "teacher_rl"])
    read = Reader(page(plan, tmp_path))
    missing = [step.name for step in plan.steps if not step.complete]
    assert f"Not finished. {len(missing)} of {len(plan.steps)} steps are missing: {', '.join(missing)}." in read.text
    assert "not evaluated" in read.text and "not run yet" in read.text


def test_an_empty_registry_has_a_page(tmp_path):
    assert "0 of 7" in Reader(page(tiny_plan(tmp_path), tmp_path)).text


def test_a_recipe_that_evaluates_nothing_has_a_page(tmp_path):
    read = Reader(page(tiny_plan(tmp_path, RECIPE.split("evaluate:")[0]), tmp_path))
    assert "evaluates nothing" in read.text


def test_accuracy_of_zero_is_said_and_drawn(tmp_path):
    read = Reader(page(finished(tmp_path, **dict.fromkeys(RIGHT, 0)), tmp_path))
    assert "no checkpoint answered anything correctly (4 problems × 2 samples)" in read.text


def test_the_student_is_compared_with_the_baseline_problem_by_problem(complete, tmp_path):
    # polish: (2, 2, 2, 1)/2, direct: (1, 1, 1, 1)/2; differences .5 .5 .5 0: mean .375, sd .25, error .25/sqrt(4)
    text = Reader(page(complete, tmp_path)).text.replace("\u00a0", " ")
    assert "polish 87.5 %, direct 50.0 %, with 16 labels each: +37.5 ± 12.5 points." in text


def test_a_difference_below_two_errors_is_called_noise(tmp_path):
    # polish (2, 2, 2, 1)/2 against direct (2, 2, 1, 1)/2: differences 0 0 .5 0: mean .125, error .125
    text = Reader(page(finished(tmp_path, direct=6), tmp_path)).text.replace("\u00a0", " ")
    assert "+12.5 ± 12.5 points, within noise" in text


def test_the_same_artifacts_give_the_same_bytes(complete, tmp_path):
    again = make_plan(complete.recipe, complete.registry.root)
    assert page(complete, tmp_path) == page(again, tmp_path)


def test_metrics_torn_by_a_kill_are_read_up_to_the_tear(tmp_path):
    plan = finished(tmp_path)
    artifact = plan.step("direct").artifact
    with (artifact.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 21, "rew')
    assert "reward, mean of 0 or 1" in page(plan, tmp_path)


def test_an_unwritable_place_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PipelineError, match="could not be written"):
        write_report(tiny_plan(tmp_path), tmp_path / "file" / "report.html")


@pytest.mark.parametrize("template", sorted(PACKAGE.rglob("*.html.j2")), ids=lambda path: path.name)
def test_where_a_table_becomes_cards_every_cell_says_its_column(template: Path):
    """On a phone the head of such a table is hidden."""
    for table in re.findall(r'<table class="cards.*?</table>', template.read_text(encoding="utf-8"), re.DOTALL):
        cells = re.findall(r"<td\b[^>]*>", table)
        assert cells and [cell for cell in cells if "data-label=" not in cell and "aria-hidden" not in cell] == []
