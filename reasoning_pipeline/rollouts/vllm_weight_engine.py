"""The worker side of a weight push through safetensors files. Runs inside vLLM's worker process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from safetensors import safe_open
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)

from reasoning_pipeline.rollouts.vllm_plugin import allowed_path


@dataclass
class SafetensorsInitInfo(WeightTransferInitInfo):
    """No rendezvous: the file's path travels with each update."""


@dataclass
class SafetensorsUpdateInfo(WeightTransferUpdateInfo):
    """`paths`: safetensors files that together (or over several updates) hold the checkpoint's tensors."""

    paths: list[str]


class SafetensorsWeightTransferEngine(WeightTransferEngine[SafetensorsInitInfo, SafetensorsUpdateInfo]):
    """Loads checkpoint-format tensors from files, through vLLM's layerwise reload."""

    init_info_cls = SafetensorsInitInfo
    update_info_cls = SafetensorsUpdateInfo

    def init_transfer_engine(self, init_info: SafetensorsInitInfo) -> None:
        pass

    def start_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model)

    def finish_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        finalize_layerwise_reload(self.model, self.model_config)

    def receive_weights(self, update_info: SafetensorsUpdateInfo) -> None:
        self.model.load_weights(self._tensors(update_info.paths))  # type: ignore[operator]

    def _tensors(self, paths: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
        for path in paths:
            with safe_open(str(allowed_path(path)), framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - safe_open is not a mapping
                    yield name, file.get_tensor(name).to(self.device)

    def shutdown(self) -> None:
        pass
