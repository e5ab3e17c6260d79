"""How figures, times, long texts and trees read."""

from __future__ import annotations

import pytest
from rich.text import Text
from rich.tree import Tree

from reasoning_pipeline.base.text import amount, clock, counted, excerpt, hours, indented, percent, tree_text


@pytest.mark.parametrize(("seconds", "text"), [(7.4, "0:07"), (59.6, "1:00"), (754, "12:34"), (7384, "2:03:04")])
def test_clock(seconds: float, text: str):
    assert clock(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.01, "36 s"), (0.5, "30.0 min"), (26, "26.0 h")])
def test_hours(value, text):
    assert hours(value) == text


def test_amounts_are_decimal_and_nothing_is_a_dash():
    assert [amount(value) for value in (0, 512, 1_234_567, 2e12)] == ["–", "512", "1.23M", "2T"]
    assert [amount(value, "B") for value in (0, 512, 27_300, 80e9)] == ["–", "512 B", "27.3 kB", "80 GB"]


def test_one_is_no_plural():
    assert [counted(number, "step") for number in (0, 1, 1200)] == ["0 steps", "1 step", "1,200 steps"]


def test_shares_are_percentages_without_the_sign():
    assert [percent(0.8812), percent(None), percent(0.5, 0)] == ["88.1", "–", "50"]


def test_a_long_text_keeps_its_beginning_and_its_end():
    assert excerpt("a" * 5 + "b" * 5, 10) == "a" * 5 + "b" * 5
    assert excerpt("a" * 50 + "b" * 50, 5) == "aa … bbb"
    assert excerpt("abc", 1, "[2 more]") == "[2 more]c"


def test_the_last_lines_of_a_log_are_set_off_and_bounded():
    assert indented("one\ntwo\n" + "x" * 400 + "\n\n", 2) == "    two\n    " + "x" * 300


def test_a_tree_is_whole_at_any_width_and_no_markup(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "20")
    tree = Tree(Text("[bold] " + "a" * 300))
    tree.add(Text("b")).add(Text(":smile: c"))
    tree.add(Text("d"))
    assert tree_text(tree).splitlines() == ["[bold] " + "a" * 300, "├── b", "│   └── :smile: c", "└── d"]
