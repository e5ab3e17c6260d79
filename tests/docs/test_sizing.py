"""The table of docs/sizing.md against the estimates."""

from __future__ import annotations

import pytest

from benchmarks.sizing import BEGIN, DOCUMENT, END, table


@pytest.mark.slow  # five plans of large recipes
def test_the_table_is_what_the_estimates_say() -> None:
    shown = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()
    assert shown == table(), "python -m benchmarks.sizing --write"
