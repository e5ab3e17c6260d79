"""Whether all weights are there is seen before anything is loaded: files that the index names, and their sizes."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from reasoning_pipeline.errors import RegistryError
from reasoning_pipeline.models.outside import hub_snapshot, require_weights
from reasoning_pipeline.models.weights import not_finite, raw, tensors
from reasoning_pipeline.plan.compatibility import check_models, outside_folders
from tests.bench import Bench
from tests.models.folders import bfloat16_file, copied, edit, sharded, with_tensors

SHORT = {"max_prompt_tokens": 32, "max_completion_tokens": 32}


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Path) -> Path:
    return copied(tiny_model, tmp_path / "model")


def refused(folder: Path) -> str:
    with pytest.raises(RegistryError) as error:
        require_weights(folder)
    assert error.value.remedy
    return error.value.message


def test_one_file_or_several_hold_the_same_tensors(folder: Path):
    require_weights(folder)
    whole = tensors(folder)
    name = "model.norm.weight"
    assert raw(folder, name) == load_file(folder / "model.safetensors")[name].tobytes()
    sharded(folder)
    require_weights(folder)
    assert set(tensors(folder)) == set(whole)


def test_a_missing_shard_is_named(folder: Path):
    sharded(folder)[1].unlink()
    assert refused(folder).endswith("1 of 3 files of weights are missing (model-00002-of-00003.safetensors)")


def test_a_shard_that_was_cut_off_says_what_it_promised(folder: Path):
    second = sharded(folder)[1]
    whole = second.stat().st_size
    second.write_bytes(second.read_bytes()[:-100])
    assert f"({whole - 100:,} bytes, its header promises {whole:,})" in refused(folder)
    second.write_bytes(second.read_bytes()[:50])
    assert "its header is cut off" in refused(folder)
    second.write_text("version https://git-lfs.github.com/spec/v1\n")  # a pointer in place of the file
    assert "no readable safetensors file" in refused(folder)


def test_shards_of_two_versions_are_not_one_model(folder: Path):
    sharded(folder)
    edit(
        folder / "model.safetensors.index.json",
        lambda index: index["weight_map"].update({"model.new.weight": "model-00001-of-00003.safetensors"}),
    )
    assert "1 tensors that model.safetensors.index.json names are in no file, the first model.new.weight" in refused(
        folder
    )


OUTSIDE = ("../x.safetensors", "/tmp/x.safetensors", "below/x.safetensors", "..\\\\x.safetensors", "x.bin", 7, None)


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_index_that_names_what_does_not_lie_beside_it(folder: Path, name: object):
    first, *_ = sharded(folder)
    (folder.parent / "x.safetensors").write_bytes(first.read_bytes())  # there, and read by transformers
    (folder / "below").mkdir()
    (folder / "below" / "x.safetensors").write_bytes(first.read_bytes())
    edit(folder / "model.safetensors.index.json", lambda i: i["weight_map"].update({"model.norm.weight": name}))
    said = refused(folder)
    assert "no index of weights (" in said and ("no safetensors file beside it" in said)


@pytest.mark.parametrize("written", ["[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', "[" * 100_000, "no JSON"])
def test_an_index_that_is_none(folder: Path, written: str):
    sharded(folder)
    (folder / "model.safetensors.index.json").write_text(written)
    assert "model.safetensors.index.json: no index of weights" in refused(folder)


def test_a_tensor_in_two_files(folder: Path):
    first, second, _ = sharded(folder)
    second.write_bytes(first.read_bytes())
    assert "is in two files, one of them model-00002-of-00003.safetensors" in refused(folder)


def tensor(dtype: str, shape: list[int], first: int, last: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


BAD_HEADERS: dict[str, tuple[dict[str, object] | str, str]] = {
    "overlap": ({"a": tensor("F32", [2], 0, 8), "b": tensor("F32", [1], 4, 8)}, "b begins at 4, where 8 bytes are"),
    "a hole": ({"a": tensor("F32", [1], 0, 4), "b": tensor("F32", [1], 8, 12)}, "b begins at 8, where 4 bytes are"),
    "before the beginning": ({"a": tensor("F32", [1], -4, 0)}, "a begins at -4"),
    "another size": ({"a": tensor("BF16", [4], 0, 16)}, "a has 16 bytes for 4 values of BF16"),
    "twice": ('{"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}, "a": {}}', "it names a twice"),
    "no mapping": ("[1]", "no readable safetensors file"),
    "no end of brackets": ("[" * 100_000, "no readable safetensors file"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_HEADERS)
def test_a_header_that_cannot_be_true(folder: Path, case: str):
    written, sentence = BAD_HEADERS[case]
    header = (written if isinstance(written, str) else json.dumps(written)).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    assert sentence in refused(folder)


def test_a_header_is_not_read_for_being_promised(folder: Path):
    """Neither one longer than the file, nor one for which there is a file: sparse here, gigabytes in memory."""
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")
    assert "its header is cut off" in refused(folder)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 2**34))
        file.truncate(2**35)
    assert "a header of 17,179,869,184 bytes" in refused(folder)


def test_shards_without_an_index(folder: Path):
    sharded(folder)
    (folder / "model.safetensors.index.json").unlink()
    assert "neither model.safetensors nor model.safetensors.index.json" in refused(folder)


def test_weights_in_a_folder_below_and_adapters_are_told_apart_from_no_weights(folder: Path):
    (folder / "final").mkdir()
    (folder / "model.safetensors").rename(folder / "final" / "model.safetensors")
    assert refused(folder).endswith("no weights here, but in final/")
    (folder / "adapter_config.json").write_text("{}")
    assert refused(folder).endswith("an adapter, not a model")


def test_a_hub_snapshot_is_looked_at_as_a_folder_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: Bench
):
    cache = tmp_path / "hub" / "models--some--model"
    snapshot = cache / "snapshots" / ("a" * 40)
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert hub_snapshot("some/model") is None
    sharded(folder)
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    assert hub_snapshot("some/model") == hub_snapshot(f"some/model@{'a' * 40}") == snapshot
    plan = bench.plan(lambda r: r["steps"]["teacher_rl"].update(policy="some/model", **SHORT))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert outside_folders(plan) == [snapshot]
    (snapshot / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(RegistryError, match="1 of 3 files of weights are missing"):
        check_models(plan)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert outside_folders(plan) == [], "the step fetches the rest"


def test_a_nan_or_an_infinity_is_found_in_every_precision(folder: Path, tmp_path: Path):
    path = folder / "model.safetensors"
    assert not_finite(path) is None
    embedding = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    for bad in (np.inf, -np.inf, np.nan):
        for kind in (np.float64, np.float32, np.float16):
            values = embedding.astype(kind)
            values[3, 4] = bad
            with_tensors(folder, embedding=values)
            assert not_finite(path) == "model.embed_tokens.weight"
    other = tmp_path / "bf16"
    other.mkdir()
    for bits, found in ((0x3F80, None), (0x7F7F, None), (0x7F80, "w"), (0xFF81, "w")):  # 1, the largest, inf, nan
        bfloat16_file(other / "model.safetensors", [0, bits])
        assert not_finite(other / "model.safetensors") == found


def test_a_published_folder_is_held_by_its_record(folder: Path):
    (folder / "record.json").write_text("{}")
    (folder / "model.safetensors").write_text("short")
    require_weights(folder)
