"""The keys that a person may write: each is explained, and the pages say what the code says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from reasoning_pipeline.commands.stages import pages
from reasoning_pipeline.recipe.reference import Key, keys
from reasoning_pipeline.recipe.stage import ModelRef, Pools, Spends
from tests.bench import PROJECT, command


class Inner(BaseModel):
    top: int = Field(3, ge=1, le=9)
    """Of the inner one."""


class Base(BaseModel):
    rate: float = Field(1e-3, gt=0)
    """Inherited, over
    two lines."""
    policy: ModelRef
    """What is trained."""


class Model(Base):
    kind: Literal["a", "b"] = "a"
    """Own."""
    spends: Annotated[Pools, Spends()] = ()
    """Labels."""
    inner: Inner | None = None
    """Deeper."""
    unsaid: str = ""


def test_keys_have_type_default_and_the_meaning_that_stands_below_them():
    assert list(keys(Model)) == [
        Key("kind", "a | b", "a", "Own."),
        Key("spends", "pool, or a list of pools", "[]", "Labels."),
        Key("inner", "keys of its own", "none", "Deeper."),
        Key("inner.top", "whole number >= 1 <= 9", "3", "Of the inner one."),
        Key("unsaid", "text", "empty", ""),
        Key("rate", "number > 0", "0.001", "Inherited, over two lines."),
        Key("policy", "`step:NAME`, a hub name or a model folder", "required", "What is trained."),
    ]


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_page_of_the_reference_is_what_the_code_says(name: str):
    found = (PROJECT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert found == pages()[name], "write them anew: python -m reasoning_pipeline stages --reference docs/reference"


def test_every_key_of_the_reference_says_what_it_means():
    empty = [line for text in pages().values() for line in text.splitlines() if line.startswith("|") and "|  |" in line]
    assert empty == []


def test_the_keys_of_one_stage_are_printed(tmp_path: Path):
    shown = command("stages", "sparse_grpo")
    assert shown.returncode == 0
    assert "group_size: whole number >= 2; default 8" in shown.stdout
    unknown = command("stages", "sparse_grop")
    assert unknown.returncode != 0 and "sparse_grpo" in unknown.stderr and "Traceback" not in unknown.stderr
