"""The tables of docs/sizing.md against the estimates."""

from __future__ import annotations

import pytest

from benchmarks.sizing import BEGIN, DOCUMENT, END, SCALING_BEGIN, SCALING_END, SIZED, scaling_table, table
from reasoning_pipeline.hardware.profile import PROFILES_FOLDER, load_profile


def test_every_profile_with_gpus_that_ships_stands_in_it() -> None:
    shipped = {path.stem for path in PROFILES_FOLDER.glob("*.yaml") if load_profile(path.stem).device == "cuda"}
    assert shipped and shipped == {profile for profiles in SIZED.values() for profile in profiles}


@pytest.mark.slow  # five plans of large recipes
def test_the_table_is_what_the_estimates_say() -> None:
    shown = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()
    assert shown == table(), "python -m benchmarks.sizing --write"


@pytest.mark.slow  # simulates a step of a hundred layouts
def test_the_scaling_is_what_the_simulation_says() -> None:
    shown = DOCUMENT.read_text(encoding="utf-8").partition(SCALING_BEGIN)[2].partition(SCALING_END)[0].strip()
    assert shown == scaling_table(), "python -m benchmarks.sizing --write"
