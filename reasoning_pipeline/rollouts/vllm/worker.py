"""What our servers' workers can do besides vLLM's own: load a checkpoint's files, hash tensors, end an update.

Given to vLLM as `--worker-extension-cls`, mixed into its worker class, and called through `/collective_rpc`, which
hands over strings only: arguments are JSON.
"""

from __future__ import annotations

import json
from typing import Any

import torch

from reasoning_pipeline.rollouts.vllm.weight_engine import ModelLoading, SafetensorsWeightTransferEngine
from reasoning_pipeline.rollouts.weights.digests import NUMPY_TYPES, checksum

_QKV = {"q": 0, "k": 1, "v": 2}


class WorkerExtension:
    """Methods of every worker. `self` is vLLM's Worker."""

    def load_checkpoint_files(self, paths: str, full: str) -> None:
        """Load these safetensors files as one update, under any transport. `full`: "true" or "false"."""
        from vllm.config import set_current_vllm_config

        self.abandon_weight_update()
        with set_current_vllm_config(self.vllm_config):  # type: ignore[attr-defined]
            loading = self._model_loading()
            loading.begin(full=json.loads(full))
            try:
                loading.load(json.loads(paths))
            finally:
                loading.finish()

    def abandon_weight_update(self) -> None:
        """End an update whose sender is gone, so that another can begin. The weights are then anybody's guess."""
        worker: Any = self
        if worker._weight_update_active:
            worker.finish_weight_update()

    def tensor_digests(self, blocks: str) -> dict[str, list[str] | None]:
        """{name: [shape, start, stop]} -> {name: [dtype, checksum]}, by the checkpoint's names.

        None for a tensor that this worker does not hold whole and in the checkpoint's layout.
        """
        model = self._model_loading().model
        parameters = dict(model.named_parameters(remove_duplicate=False))
        found: dict[str, list[str] | None] = {}
        for name, (shape, start, stop) in json.loads(blocks).items():
            tensor = checkpoint_tensor(model, parameters, name)
            kind = str(tensor.dtype).removeprefix("torch.") if tensor is not None else ""
            if tensor is None or list(tensor.shape) != shape or kind not in NUMPY_TYPES:
                found[name] = None
                continue
            block = tensor.detach().reshape(-1)[start:stop].cpu().contiguous()
            bits = block.view(torch.int16) if block.element_size() == 2 else block.view(torch.int32)
            found[name] = [kind, checksum(bits.numpy())]
        return found

    def _model_loading(self) -> ModelLoading:
        worker: Any = self
        if isinstance(worker.weight_transfer_engine, SafetensorsWeightTransferEngine):
            return worker.weight_transfer_engine.loading
        if not hasattr(worker, "_reasoning_pipeline_loading"):
            worker._reasoning_pipeline_loading = ModelLoading(worker.model_runner.model, worker.model_config)
        return worker._reasoning_pipeline_loading


def checkpoint_tensor(model: Any, parameters: dict[str, torch.Tensor], name: str) -> torch.Tensor | None:
    """The part of a parameter that holds this checkpoint tensor: a share of a fused one, without padded rows."""
    mapper = getattr(model, "hf_to_vllm_mapper", None)
    mapped, share = (mapper._map_name_with_shard(name) or (None, None)) if mapper is not None else (name, None)
    parameter = parameters.get(mapped) if mapped is not None else None
    if mapped is None or parameter is None:
        return None
    layer = model.get_submodule(mapped.rpartition(".")[0])
    if share is None:
        rows = getattr(layer, "org_vocab_size", None)
        return parameter[:rows] if rows is not None else parameter
    sizes = getattr(layer, "output_partition_sizes", None)
    position = _QKV.get(share, share)
    if sizes is None or not isinstance(position, int):
        return None
    return parameter[sum(sizes[:position]) : sum(sizes[: position + 1])]
