"""What vLLM loads into each of its processes: our weight-transfer engines.

vLLM finds `register` through the entry-point group `vllm.general_plugins` (see pyproject.toml). With `safetensors` the
trainer writes files into a folder both sides see (shared memory on one machine), names them in `/update_weights`, and
the engine loads them with the model's own checkpoint loader, so fused and tied parameters need no special case. `nccl`
is vLLM's own with a deadline; `ipc` is vLLM's own but for the form in which the handles travel.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.ownership import leave_with_owner

BACKENDS = {"safetensors": "safetensors", "nccl": "nccl_with_deadline", "ipc": "plain_ipc"}
"""`server.transport` of a hardware profile -> the name of vLLM's weight-transfer backend."""
WORKER_EXTENSION = "reasoning_pipeline.rollouts.vllm.worker.WorkerExtension"
TRANSFER_PREFIX = "reasoning-pipeline-"
"""Begins the name of a transfer folder, the first of the folders below, and of the folder of sockets."""
SOCKETS_VARIABLE = "VLLM_RPC_BASE_PATH"
"""vLLM's own: where the sockets between its processes lie."""
FOLDERS_VARIABLE = "REASONING_PIPELINE_WEIGHT_FOLDERS"
"""Folders the server may read weights from, a JSON list; anything else is refused. No separator could be told from a
part of a path: folders may have a colon in their names."""

SILENCE_VARIABLE = "REASONING_PIPELINE_SILENCE_S"
"""Seconds without anything of a transfer arriving, after which a worker aborts it."""


def register() -> None:
    """Called by vLLM in every process it starts."""
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

    module = "reasoning_pipeline.rollouts.vllm.weight_engine"
    ours = {
        "safetensors": "SafetensorsWeightTransferEngine",
        "nccl": "NCCLWithDeadline",
        "ipc": "PlainIPCWeightTransferEngine",
    }
    for transport, engine in ours.items():
        if BACKENDS[transport] not in WeightTransferEngineFactory._registry:
            WeightTransferEngineFactory.register_engine(BACKENDS[transport], module, engine)
    # vLLM's engine is a grandchild of whoever started the server; a SIGKILL there would leave it running.
    leave_with_owner(last=_remove_own_folders)
    if _is_cpu_build():
        from reasoning_pipeline.rollouts.vllm.packing import keep_weights_beside_packs

        keep_weights_beside_packs()
        _spare_rows_without_adapter()


def _spare_rows_without_adapter() -> None:
    """vLLM marks a row without an adapter by the index -1. Its kernels for GPUs skip such rows; its operators for CPUs
    (0.31, torch_ops/lora_ops.py) index with it and so apply the last adapter, wherever a batch holds several rows."""
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu

    shrink: Any = lora_ops.bgmv_shrink

    def spared(inputs: Any, weights: Any, output: Any, indices: Any, scaling: float = 1.0) -> None:
        shrink(inputs, weights, output, indices, scaling)
        output[indices < 0] = 0.0

    modules: tuple[Any, ...] = (lora_ops, punica_cpu)  # one calls it by its own name, the other has imported it
    for module in modules:
        module.bgmv_shrink = spared


def _remove_own_folders() -> None:
    """What the owner would have done: shared memory outlives processes, and a large model's weights may be in it."""
    for folder in (*readable_folders()[:1], os.environ.get(SOCKETS_VARIABLE, "")):
        if Path(folder).name.startswith(TRANSFER_PREFIX):
            shutil.rmtree(folder, ignore_errors=True)


def readable_folders() -> list[str]:
    """What `FOLDERS_VARIABLE` says."""
    return list(json.loads(os.environ.get(FOLDERS_VARIABLE) or "[]"))


def _is_cpu_build() -> bool:
    from vllm.platforms import current_platform

    return current_platform.is_cpu()


def allowed_path(name: str) -> Path:
    """The file `name`, if it lies in a folder this server was told to trust. Raises ValueError otherwise."""
    path = Path(name).resolve()
    folders = [Path(folder).resolve() for folder in readable_folders()]
    if not any(path.is_relative_to(folder) for folder in folders):
        raise ValueError(f"{path} is outside the folders this server reads weights from")
    return path
