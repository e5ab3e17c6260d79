"""The hardware profile: accumulation is derived from the recipe's batch, and a profile that cannot work is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.hardware.profile import PROFILES_FOLDER, HardwareProfile, accumulation, load_profile


def profile(processes: int = 1, micro_batch: int | None = None) -> HardwareProfile:
    return HardwareProfile(processes=processes, micro_batch=micro_batch, accelerate_config="any.yaml")


@pytest.mark.parametrize(
    ("processes", "micro_batch", "batch", "expected"),
    [
        (1, None, 128, (128, 1)),  # the whole share at once
        (1, 8, 128, (8, 16)),
        (4, 8, 128, (8, 4)),  # 128 / 4 = 32 = 8 * 4
        (4, None, 128, (32, 1)),
        (4, 64, 128, (32, 1)),  # a micro-batch above the share is the share
        (3, 5, 15, (5, 1)),
        (1, 1, 7, (1, 7)),
    ],
)
def test_passes_times_size_times_processes_is_the_global_batch(processes, micro_batch, batch, expected):
    size, passes = accumulation(profile(processes, micro_batch), batch, what="test")
    assert (size, passes) == expected
    assert size * passes * processes == batch


@pytest.mark.parametrize(
    ("processes", "micro_batch", "sentence"),
    [
        (3, None, "processes: 3 do not divide the global batch of 128 (16 problems x 8)"),
        (1, 48, "micro_batch: 48 does not divide the 128 rollouts of one process (16 problems x 8)"),
        (2, 48, "micro_batch: 48 does not divide the 64 rollouts of one process (16 problems x 8)"),
        (256, None, "processes: 256 do not divide the global batch of 128 (16 problems x 8)"),
    ],
)
def test_what_does_not_divide_is_refused_with_its_figures(processes, micro_batch, sentence):
    with pytest.raises(RecipeError) as error:
        accumulation(profile(processes, micro_batch), 128, what="16 problems x 8")
    assert error.value.problems == [sentence] and error.value.exit_status == 2


def test_a_step_that_must_be_whole_is_not_divided():
    assert accumulation(profile(1, 128), 128, what="16 problems x 8", whole="it must not be") == (128, 1)
    for processes, micro_batch, passes in ((1, 8, "1 processes with 16"), (2, None, "2 processes with 1")):
        with pytest.raises(RecipeError) as error:
            accumulation(profile(processes, micro_batch), 128, what="16 problems x 8", whole="it must not be")
        assert error.value.problems == [f"16 problems x 8: 128 rollouts in {passes} passes each, but it must not be"]


def test_several_processes_need_a_launcher():
    with pytest.raises(ValueError, match="4 processes need accelerate_config"):
        HardwareProfile(processes=4)
    assert HardwareProfile(processes=4, accelerate_config="ddp.yaml").processes == 4


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"parallel_steps": 2}, "a rollout server holds one policy at a time"),
        ({"warm_start": True, "device": "cuda"}, "launchers start programs anew"),
        ({"warm_start": True, "accelerate_config": "ddp.yaml"}, "launchers start programs anew"),
    ],
)
def test_what_only_short_steps_on_a_cpu_can_have(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        HardwareProfile.model_validate(values)


@pytest.mark.parametrize("path", sorted(PROFILES_FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_profile_that_ships_loads_under_its_name(path: Path):
    assert load_profile(path.stem) == load_profile(path)
    assert load_profile(path.stem).name == path.stem


def test_a_laptop_is_the_default():
    assert load_profile(None) == load_profile("cpu")


def test_an_unknown_profile_lists_those_there_are():
    known = ", ".join(sorted(path.stem for path in PROFILES_FOLDER.glob("*.yaml")))
    with pytest.raises(RecipeError) as error:
        load_profile("h100")
    assert str(error.value) == f"h100: 1 problem\n  - no such hardware profile (known: {known})"
    with pytest.raises(RecipeError, match="no such hardware profile"):
        load_profile("nowhere/mine.yaml")


def test_everything_wrong_with_a_profile_is_said_at_once(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("engine: vlm\nmicro_bacth: 8\nprocesses: 0\nserver: {max_server: 1, kv_cache_gib: half}\n")
    with pytest.raises(RecipeError) as error:
        load_profile(path)
    assert str(error.value) == (
        f"{path}: 5 problems\n"
        "  - engine: input should be 'vllm' or 'transformers' (got 'vlm'); did you mean \"vllm\"?\n"
        "  - processes: input should be greater than or equal to 1 (got 0)\n"
        "  - server.kv_cache_gib: input should be a valid integer, unable to parse string as an integer (got 'half')\n"
        '  - server.max_server: unknown key; did you mean "max_servers"?\n'
        '  - micro_bacth: unknown key; did you mean "micro_batch"?'
    )


def test_a_profile_without_a_name_is_called_after_its_file(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("micro_batch: 8\n")
    assert load_profile(path) == HardwareProfile(name="mine", micro_batch=8)
    path.write_text("processes: 2\n")
    with pytest.raises(RecipeError, match="2 processes need accelerate_config"):
        load_profile(path)


def test_passes_have_one_size(tmp_path: Path):
    path = tmp_path / "both.yaml"
    path.write_text("micro_batch: 8\ntokens_per_micro_batch: 4096\n")
    with pytest.raises(RecipeError, match=r"give micro_batch .* or tokens_per_micro_batch, not both"):
        load_profile(path)
    tokens = HardwareProfile(processes=2, tokens_per_micro_batch=4096, accelerate_config="any.yaml")
    assert accumulation(tokens, 128, what="test") == (64, 1)
    with pytest.raises(RecipeError, match="in passes of 4096 tokens, but it must not be"):
        accumulation(tokens, 128, what="test", whole="it must not be")
