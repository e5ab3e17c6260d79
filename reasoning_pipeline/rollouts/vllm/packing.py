"""On CPUs: weights packed for oneDNN, and packed anew after an update.

vLLM's CPU build packs each linear layer when it loads it, drops the weight itself, and multiplies with the pack. After
an update in place all routes answer 200 and the old pack is still in use. So the weights stay beside the packs, at
twice their memory, updates are loaded into the weights, and the packs are made again from them.
"""

from __future__ import annotations

from typing import Any

from vllm.model_executor.layers import utils

_pack = utils.dispatch_cpu_unquantized_gemm


def keep_weights_beside_packs() -> None:
    """From now on, in this process; layers ask for the function by its name when they have been loaded."""

    def pack_and_keep(layer: Any, remove_weight: bool) -> None:
        _pack(layer, remove_weight=False)

    utils.dispatch_cpu_unquantized_gemm = pack_and_keep


def pack_again(model: Any) -> None:
    """Make every pack from the weight as it is now; nothing on devices without packs."""
    for layer in model.modules():
        if "cpu_linear" in vars(layer):
            utils.dispatch_cpu_unquantized_gemm(layer, remove_weight=False)
