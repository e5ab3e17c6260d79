"""Pushing weights into a rollout server, and proving that they arrived.

`WeightPush.push` gathers a trainer's parameters one at a time (plain, DDP, ZeRO-3, FSDP2), writes them as safetensors
into the server's transfer folder, has vLLM load the file, and compares the probe on both sides. `load_folder` does the
same for a published checkpoint, without torch.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.errors import ServerError
from reasoning_pipeline.rollouts.client import RolloutClient
from reasoning_pipeline.rollouts.probe import Probe, probe_sequences, prove

if TYPE_CHECKING:
    import torch


def update_weights(client: RolloutClient, files: list[Path], version: str) -> None:
    """Have the server load these safetensors files and call them `version`. Proves nothing: see `prove`."""
    client.post("/start_weight_update", {})
    client.post("/update_weights", {"update_info": {"paths": [str(file.resolve()) for file in files]}})
    client.post("/finish_weight_update", {"weight_version": version})
    client.post("/reset_prefix_cache", {})  # cached keys and values belong to the old weights


def load_folder(client: RolloutClient, folder: Path, version: str, precision: str) -> float | None:
    """Load a published checkpoint into the server.

    Returns:
        Largest difference of the probe in nats; None where the folder brings no probe (a model from outside).

    Raises:
        StaleWeights: The probe disagrees.
    """
    update_weights(client, sorted(folder.glob("*.safetensors")), version)
    probe = Probe.load(folder)
    return prove(probe, client, precision, what=folder.name) if probe is not None else None


class WeightPush:
    """Pushes one trainer's model; all ranks call `push`, rank 0 talks to the server.

    Args:
        model: The model as the trainer prepared it (wrapped or not).
        transfer_folder: Where both sides can read and write; shared memory on one machine.
        precision: The server's.
    """

    def __init__(self, client: RolloutClient, accelerator: Any, transfer_folder: Path, precision: str) -> None:
        self.client, self.accelerator = client, accelerator
        self.file, self.precision = transfer_folder / "policy.safetensors", precision
        self.seconds = 0.0
        """Duration of the last push, proof included."""
        self.difference = 0.0
        """Largest difference of the last proof, in nats."""

    def push(self, model: torch.nn.Module, version: str) -> None:
        """Raises StaleWeights where the server does not hold the pushed weights afterwards."""
        from safetensors.torch import save_file

        started = time.monotonic()
        probe = local_probe(model, self.accelerator)
        main = self.accelerator.is_main_process
        tensors = {name: tensor for name, tensor in full_parameters(model, self.accelerator) if main}
        if main:
            try:
                save_file(tensors, self.file)
            except (OSError, RuntimeError) as error:
                if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
                    raise ServerError(
                        f"{self.file.parent}: no space for the weights to push",
                        remedy="free shared memory (/dev/shm), or point TMPDIR at a larger folder",
                    ) from error
                raise
            update_weights(self.client, [self.file], version)
            self.difference = prove(probe, self.client, self.precision, what=version)
        self.accelerator.wait_for_everyone()
        self.seconds = time.monotonic() - started


def full_parameters(model: torch.nn.Module, accelerator: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """(checkpoint name, whole tensor on the CPU) for each parameter, gathered one at a time.

    A tied head appears once, under the embedding's name, as in a saved checkpoint. Collective: every rank iterates.
    """
    zero3 = _is_zero3(accelerator)
    for name, parameter in accelerator.unwrap_model(model).named_parameters():
        if zero3:
            import deepspeed

            with deepspeed.zero.GatheredParameters([parameter]):
                tensor = parameter.detach().to("cpu", copy=True)
        else:
            whole = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
            tensor = whole.detach().cpu().contiguous()
        yield name, tensor


def local_probe(model: torch.nn.Module, accelerator: Any) -> Probe:
    """Score the probe with the trainer's own weights. Collective: a sharded forward pass needs every rank."""
    import torch

    unwrapped = accelerator.unwrap_model(model)
    sequences = probe_sequences(unwrapped.config.get_text_config().vocab_size)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        input_ids = torch.tensor(sequences, device=accelerator.device)
        logits = model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids), use_cache=False).logits
        logprobs = logits[:, :-1].float().log_softmax(-1).gather(-1, input_ids[:, 1:, None]).squeeze(-1)
    model.train(was_training)
    return Probe(sequences, logprobs.cpu().tolist())


def _is_zero3(accelerator: Any) -> bool:
    plugin = getattr(accelerator.state, "deepspeed_plugin", None)
    return plugin is not None and plugin.zero_stage == 3
