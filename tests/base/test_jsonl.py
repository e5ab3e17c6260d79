"""Rows survive whatever a model or a data set puts into them, and a torn end costs the torn row alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reasoning_pipeline.base.jsonl import lines, read_rows

ROWS = [{"text": "a line\u2028separator, \u0085 and \x0c, \r\n and \n"}, {"text": "next"}]


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(ROWS), encoding="utf-8")
    assert read_rows(tmp_path / "rows.jsonl") == ROWS


def test_a_torn_end_is_dropped_only_where_it_may_be(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(lines(ROWS)[:-4], encoding="utf-8")
    assert read_rows(path, torn=True) == ROWS[:1]
    with pytest.raises(json.JSONDecodeError):
        read_rows(path)


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("\ufeff" + lines(ROWS), encoding="utf-8")
    assert read_rows(tmp_path / "rows.jsonl") == ROWS
