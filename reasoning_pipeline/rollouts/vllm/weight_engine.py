"""The worker side of weight updates. Runs inside vLLM's worker process.

`ModelLoading` puts checkpoint tensors into a live model; the `safetensors` transfer engine and the worker extension
(worker.py) both use it. `NCCLWithDeadline` is vLLM's NCCL engine, which waits for a dead trainer for ever, with one;
`PlainIPCWeightTransferEngine` is vLLM's CUDA IPC engine with handles that travel as JSON.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from safetensors import safe_open
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.ipc_engine import IPCWeightTransferEngine, IPCWeightTransferUpdateInfo
from vllm.distributed.weight_transfer.nccl_engine import (
    NCCLWeightTransferEngine,
    NCCLWeightTransferInitInfo,
    NCCLWeightTransferUpdateInfo,
)
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload
from vllm.model_executor.model_loader.reload.layerwise import get_layerwise_info

from reasoning_pipeline.rollouts.vllm.packing import pack_again
from reasoning_pipeline.rollouts.vllm.plugin import SILENCE_VARIABLE, allowed_path
from reasoning_pipeline.rollouts.weights.deadline import Watch
from reasoning_pipeline.rollouts.weights.ipc_handles import handle_from_json
from reasoning_pipeline.rollouts.weights.slots import PADDING


@dataclass
class SafetensorsInitInfo(WeightTransferInitInfo):
    """No rendezvous: the file's path travels with each update."""


@dataclass
class SafetensorsUpdateInfo(WeightTransferUpdateInfo):
    """`paths`: safetensors files that together (or over several updates) hold the checkpoint's tensors.

    `full`: see ModelLoading.begin.
    """

    paths: list[str]
    full: bool = False


class ModelLoading:
    """Loads checkpoint-format tensors into a model that serves, in one of two ways.

    In place: vLLM's own loaders copy each tensor into the parameter that is in use, fused and tied ones included. One
    copy, nothing allocated. Only where loading left every parameter as the checkpoint shapes it (no quantisation, no
    repacking for a kernel).

    Full: vLLM's layerwise reload, which materialises each layer anew and processes it as a first load would. Costs
    several times as much.
    """

    def __init__(self, model: Any, model_config: Any) -> None:
        self.model, self.model_config = model, model_config
        self._trusted_in_place = True
        self._reloading = False
        # A tied head is a second name for one parameter: vLLM refuses a file that holds only the second name, and a
        # reload would write both into the one. Asked now, since during a reload they are two.
        known = {name for name, _ in model.named_parameters()}
        self._tied = {name for name, _ in model.named_parameters(remove_duplicate=False)} - known

    def begin(self, *, full: bool) -> None:
        """`full` is asked for when a proof has failed: the short way is then not taken again in this process."""
        self._trusted_in_place = self._trusted_in_place and not full
        if not (self._trusted_in_place and parameters_are_as_loaded(self.model)):
            initialize_layerwise_reload(self.model)
            self._reloading = True

    def load(self, paths: list[str]) -> None:
        self.model.load_weights(self._tensors(paths))

    def finish(self) -> None:
        """Also ends an update that its sender abandoned: layers that nothing arrived for keep what they had."""
        if self._reloading:
            self._reloading = False
            finalize_layerwise_reload(self.model, self.model_config)
        pack_again(self.model)

    def _tensors(self, paths: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
        for path in paths:
            with safe_open(str(allowed_path(path)), framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - safe_open is not a mapping
                    if name != PADDING and name not in self._tied:
                        tensor = file.get_tensor(name)
                        # A reload keeps tensors until their layer is complete; the file may be rewritten before.
                        yield name, tensor.clone() if self._reloading else tensor


def parameters_are_as_loaded(model: Any) -> bool:
    """Whether every parameter still has the shape and dtype in which vLLM created it for the checkpoint."""
    recorded_any = False
    for layer in model.modules():
        current = layer._parameters
        for name, recorded in get_layerwise_info(layer).restore_metadata[0].items():
            recorded_any = True
            found = current.get(name)
            if found is None or found.shape != recorded.shape or found.dtype != recorded.dtype:
                return False
    return recorded_any


class SafetensorsWeightTransferEngine(WeightTransferEngine[SafetensorsInitInfo, SafetensorsUpdateInfo]):
    """Loads checkpoint-format tensors from files."""

    init_info_cls = SafetensorsInitInfo
    update_info_cls = SafetensorsUpdateInfo

    def __init__(self, config: Any, vllm_config: Any, device: torch.device, model: torch.nn.Module) -> None:
        super().__init__(config, vllm_config, device, model)
        self.loading = ModelLoading(model, self.model_config)
        self._begun = False

    def init_transfer_engine(self, init_info: SafetensorsInitInfo) -> None:
        pass

    def start_weight_update(self) -> None:
        self._begun = False  # which of the two ways is known when the first files are named

    def receive_weights(self, update_info: SafetensorsUpdateInfo) -> None:
        if not self._begun:
            self.loading.begin(full=update_info.full)
            self._begun = True
        self.loading.load(update_info.paths)

    def finish_weight_update(self) -> None:
        self.loading.finish()

    def shutdown(self) -> None:
        pass


class NCCLWithDeadline(NCCLWeightTransferEngine):
    """vLLM's NCCL engine; where the trainer is gone, its calls end. The worker then serves on with a mixture of weights
    that no version names, or, where NCCL's abort hangs too, ends, and the server with it."""

    def init_transfer_engine(self, init_info: NCCLWeightTransferInitInfo) -> None:
        with self._watched():
            super().init_transfer_engine(init_info)

    def receive_weights(self, update_info: NCCLWeightTransferUpdateInfo) -> None:
        model: Any = self.model
        load = model.load_weights
        with self._watched() as watch:

            def load_and_tell(*given: Any, **named: Any) -> Any:
                watch.moved()
                return load(*given, **named)

            model.load_weights = load_and_tell  # vLLM's receiver asks for it by this name
            try:
                super().receive_weights(update_info)
            finally:
                del model.load_weights

    def _watched(self) -> Watch:
        return Watch(float(os.environ.get(SILENCE_VARIABLE, "120")), abort=self._abort, leave=_leave)

    def _abort(self) -> None:
        group, self.model_update_group = self.model_update_group, None
        if group is not None:
            group.destroy()


def _leave(why: str) -> NoReturn:
    print(f"error: weights from a trainer do not arrive: {why}", file=sys.stderr, flush=True)
    os._exit(1)


class PlainIPCWeightTransferEngine(IPCWeightTransferEngine):
    """vLLM's CUDA IPC engine. Over HTTP vLLM pickles the handles; here they are plain JSON, checked field by field."""

    def parse_update_info(self, update_dict: dict[str, Any]) -> IPCWeightTransferUpdateInfo:
        if "ipc_handles_pickled" in update_dict:
            raise ValueError("pickled handles are refused; send `ipc_handles` as JSON (ipc_handles.py)")
        handles = update_dict.get("ipc_handles")
        if isinstance(handles, list):
            decoded: Any = [{gpu: handle_from_json(one) for gpu, one in entry.items()} for entry in handles]
        else:
            decoded = {gpu: handle_from_json(one) for gpu, one in (handles or {}).items()}
        return super().parse_update_info({**update_dict, "ipc_handles": decoded})
