"""Checksums that agree exactly where the bits agree, whichever library computed them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from reasoning_pipeline.rollouts.weights import digests
from reasoning_pipeline.rollouts.weights.digests import (
    Block,
    CheckpointFiles,
    Digest,
    as_dtype,
    checksum,
    chosen_blocks,
    first_difference,
)

AWKWARD = [0.0, -0.0, 1.0, 1.00390625, 1.01171875, 3.4e38, -1e-40, 65520.0, 1e-8, float("inf")]
"""Among them: a tie that rounds down to even in bfloat16, one that rounds up, and what float16 cannot hold."""


def bits(tensor: torch.Tensor) -> np.ndarray:
    return tensor.view(torch.int16).numpy().view(np.uint16) if tensor.element_size() == 2 else tensor.numpy()


@pytest.mark.parametrize("found", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("wanted", ["float32", "bfloat16", "float16"])
def test_casting_is_torch_s_to_the_bit(found: str, wanted: str) -> None:
    torch.manual_seed(0)
    values = torch.cat([torch.tensor(AWKWARD), torch.randn(10_000) * 10 ** torch.randn(10_000)])
    start = values.to(getattr(torch, found))
    given = bits(start).view(np.float16) if found == "float16" else bits(start)
    with np.errstate(over="ignore"):
        ours = as_dtype(given, found, wanted)
    theirs = bits(start.to(getattr(torch, wanted)))
    assert ours.tobytes() == theirs.tobytes()


def test_over_the_turns_every_element_of_every_tensor_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "BYTES_PER_PUSH", 4 * 20)
    shapes = {"large": (7, 5), "small": (3,), "exact": (2, 10)}
    seen: dict[str, set[int]] = {name: set() for name in shapes}
    for turn in range(4):  # "large" gets 10 / 3 + 10 * 35 / 58 elements, both rounded up: 4 + 7 of 35, four turns
        blocks = chosen_blocks(shapes, turn)
        assert blocks["large"].stop - blocks["large"].start <= 11
        for name, block in blocks.items():
            seen[name] |= set(range(block.start, block.stop))
    assert {name: len(found) for name, found in seen.items()} == {"large": 35, "small": 3, "exact": 20}


def test_the_first_difference_is_named_and_what_cannot_be_seen_is_passed_over() -> None:
    ours = {name: Digest("float32", name) for name in ("a", "b", "c")}
    assert first_difference(ours, dict(ours)) is None
    assert first_difference(ours, {**ours, "a": None}) is None
    assert first_difference(ours, {**ours, "c": Digest("float32", "x"), "b": Digest("float32", "y")}) == "b"


@pytest.mark.parametrize("kept", [torch.float32, torch.bfloat16])
def test_a_file_s_block_hashes_like_the_tensor_in_the_server_s_dtype(tmp_path: Path, kept: torch.dtype) -> None:
    torch.manual_seed(0)
    tensors = {"first": torch.randn(3, 7).to(kept), "second": torch.randn(50, 4).to(kept)}
    save_file(tensors, tmp_path / "model.safetensors")
    files = CheckpointFiles([tmp_path / "model.safetensors"])
    assert files.shapes == {"first": (3, 7), "second": (50, 4)}
    for served in (torch.float32, torch.bfloat16):
        block = Block((50, 4), 33, 91)
        expected = checksum(bits(tensors["second"].to(served).reshape(-1)[33:91]))
        assert files.digest("second", block, str(served).removeprefix("torch.")).checksum == expected
