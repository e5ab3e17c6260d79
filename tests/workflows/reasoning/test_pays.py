"""The map is read whole, what decides is found in it, and advice says no more than the map does."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasoning_pipeline.errors import DataError
from reasoning_pipeline.workflows.reasoning.advice import Case, as_json, told
from reasoning_pipeline.workflows.reasoning.pays import AFTER, BEFORE, known_before, placed, read_map, regression
from reasoning_pipeline.workflows.reasoning.probe import Probe
from tests.workflows.reasoning.map_rows import write_map


def a_case(path: Path, cells: int, *, start: float = 0.2, labels: int = 256) -> Case:
    found = read_map(write_map(path / "map.csv", cells)) if cells else []
    probe = Probe(
        **{"start": start, "teacher_start": start + 0.1, "mixed": 0.9 - start, "kl_start": 0.25, "labels": labels},
        problems=32,
        samples=8,
        teacher_size=2.1,
    )  # type: ignore[arg-type]
    figures = known_before(
        start=start, mixed=0.9 - start, labels=labels, teacher_start=start + 0.1, teacher_size=2.1, kl_start=0.25
    )
    return Case(
        recipe="mine",
        probe=probe,
        figures=figures,
        cells=found,
        place=placed(found, figures) if found else None,
        fitted=regression(found, list(figures)) if found else None,
        world="problems; a student of 1,720,574,976 parameters",
    )


def test_cells_are_read_with_their_predictors(tmp_path: Path):
    cells = read_map(write_map(tmp_path / "map.csv", 6))
    assert len(cells) == 6 and set(cells[0].figures) == {*BEFORE, *AFTER}
    first = cells[0]
    # start 0.1: a gain of 0.2 - 0.05, its interval 4 points to either side; 64 labels are 2^6
    assert (first.gain, first.low, first.high) == pytest.approx((0.15, 0.11, 0.19)) and not first.is_noise
    assert first.figures["log_labels"] == 6 and first.figures["teacher_ahead"] == pytest.approx(0.1)


def test_what_decides_in_a_made_up_map_is_found(tmp_path: Path):
    cells = read_map(write_map(tmp_path / "map.csv", 40))
    for names in (BEFORE, AFTER):
        found = regression(cells, list(names))
        assert found is not None and found.tells and found.error < 0.2 * found.error_of_mean
        strongest = max(zip(names, found.coefficients, strict=True), key=lambda pair: abs(pair[1]))
        # `mixed` falls as `start` rises, point for point: either may carry the rule
        assert strongest[0] in ("start", "mixed")
    assert regression(cells[:3], list(BEFORE)) is None


def test_a_broken_map_says_which_cell(tmp_path: Path):
    path = write_map(tmp_path / "map.csv", 3)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(DataError, match=r"cell 'near_l1024_t2_s2' is not whole \('direct'\)"):
        read_map(path)
    with pytest.raises(DataError, match="there is no map"):
        read_map(tmp_path / "elsewhere.csv")


def test_a_case_on_the_map(tmp_path: Path):
    text = "\n".join(told(a_case(tmp_path, 40), shown=3))
    assert "nearest of 40 cells" in text and text.count("points over") == 0
    assert "In these figures your case is on the map" in text and "outside" not in text
    assert "1,720,574,976" in text and "left-to-right arithmetic" in text


def test_extrapolation_is_told(tmp_path: Path):
    case = a_case(tmp_path, 40, start=0.7, labels=17_000)
    text = "\n".join(told(case, shown=3))
    assert "Your case is not on the map" in text and text.count("   outside") >= 2
    assert '"extrapolates": true' in as_json(case) and '"log_labels"' in as_json(case)


def test_few_cells_and_none_are_said(tmp_path: Path):
    assert "the map has 2 cells so far: too few to say what decides" in "\n".join(told(a_case(tmp_path, 2), shown=3))
    assert "the map has 1 cell so far" in "\n".join(told(a_case(tmp_path, 1), shown=3))
    assert "there is no map to hold this against" in "\n".join(told(a_case(tmp_path, 0), shown=3))
