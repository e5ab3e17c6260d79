"""The files in shared memory: what a reader finds in them, and what happens when there is no room."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from reasoning_pipeline.errors import ServerError
from reasoning_pipeline.rollouts.weights.gathering import TensorInfo
from reasoning_pipeline.rollouts.weights.slots import PADDING, TensorSlots


def info(name: str, *shape: int, dtype: torch.dtype = torch.float32) -> TensorInfo:
    return TensorInfo(name, shape, dtype)


def contents(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(str(path), framework="pt") as file:
        return {name: file.get_tensor(name).clone() for name in file.keys() if name != PADDING}  # noqa: SIM118


@pytest.mark.parametrize("reuse", [True, False])
def test_chunks_come_back_as_they_were_and_at_most_two_lie_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reuse: bool
) -> None:
    monkeypatch.setattr("reasoning_pipeline.rollouts.weights.slots.CHUNK_BYTES", 100)
    infos = [info("a", 5, 4), info("b", 3), info("empty", 0), info("c", 5, 5), info("d", 2, 2)]  # 80, 12, 0, 100, 16
    slots = TensorSlots(tmp_path, infos, reuse=reuse)
    assert [[one.name for one in chunk] for chunk in slots.chunks] == [["a", "b", "empty"], ["c"], ["d"]]
    for _ in range(2):
        tensors = {one.name: torch.randn(one.shape) for one in infos}
        for chunk in slots.chunks:
            path = slots.write(chunk, iter([tensors[one.name] for one in chunk]))
            found = contents(path)
            assert list(found) == [one.name for one in chunk] or set(found) == {one.name for one in chunk}
            for name, tensor in found.items():
                torch.testing.assert_close(tensor, tensors[name], rtol=0, atol=0)
            assert len(list(tmp_path.iterdir())) <= 2
            slots.loaded(path)
    assert len(list(tmp_path.iterdir())) == (2 if reuse else 0)
    slots.remove()
    assert not list(tmp_path.iterdir())


def test_tensors_are_cast_to_what_travels_and_dtypes_are_not_mixed(tmp_path: Path) -> None:
    infos = [info("a", 3, dtype=torch.bfloat16), info("b", 2), info("c", 3, dtype=torch.bfloat16)]
    slots = TensorSlots(tmp_path, infos, reuse=True)
    assert [len(chunk) for chunk in slots.chunks] == [1, 1, 1], "a tensor behind one of another dtype may not align"
    given = torch.tensor([1.0, 1.001, -3.14159])
    found = contents(slots.write(slots.chunks[0], iter([given])))
    torch.testing.assert_close(found["a"], given.bfloat16(), rtol=0, atol=0)


def test_a_transposed_tensor_arrives_row_by_row(tmp_path: Path) -> None:
    slots = TensorSlots(tmp_path, [info("a", 4, 3)], reuse=True)
    given = torch.arange(12.0).view(3, 4).T
    assert torch.equal(contents(slots.write(slots.chunks[0], iter([given])))["a"], given)


def test_full_shared_memory_is_one_clear_message_and_leaves_nothing_behind(tmp_path: Path) -> None:
    # More than any machine has: refused at once, nothing is touched.
    folder = Path("/dev/shm") if Path("/dev/shm").is_dir() else tmp_path
    before = set(folder.glob("policy-*"))
    with pytest.raises(ServerError, match="no space for the weights to push") as caught:
        TensorSlots(folder, [info("huge", 2**24, 2**24)], reuse=True)
    assert "server.transfer_folder" in str(caught.value)
    assert set(folder.glob("policy-*")) == before
