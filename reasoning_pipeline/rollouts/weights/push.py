"""Pushing weights into rollout servers, and proving that they arrived.

`WeightPush.push` gathers a trainer's parameters one at a time (gathering.py), sends them by the profile's
transport (transport.py), and proves the result on every server: the probe's log-probabilities on both sides, and
checksums of a block of every tensor. `load_folder` does the same for a published checkpoint, without torch.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.errors import ServerError, ServerLost, StaleWeights, TransferCutOff
from reasoning_pipeline.models.weights import weight_files
from reasoning_pipeline.rollouts.clients.client import RolloutClient
from reasoning_pipeline.rollouts.weights.digests import CheckpointFiles, chosen_blocks, whole_blocks
from reasoning_pipeline.rollouts.weights.gathering import described, whole_tensors
from reasoning_pipeline.rollouts.weights.naps import Naps, wake_fully
from reasoning_pipeline.rollouts.weights.probe import Probe
from reasoning_pipeline.rollouts.weights.proof import (
    Answer,
    Proof,
    Sample,
    ask,
    check,
    local_probe,
    sequences_for,
    server_digests,
)
from reasoning_pipeline.rollouts.weights.safetensors_transport import SafetensorsTransport
from reasoning_pipeline.rollouts.weights.transport import (
    Transport,
    begin_update,
    call_workers,
    forget_prefixes,
    travelling,
)
from reasoning_pipeline.rollouts.weights.vllm_transport import VLLMTransport

if TYPE_CHECKING:
    import torch

UNPROVED = "{version} (unproved)"
"""What the weights are called after a push that could not be proved."""


def load_folder(client: Any, folder: Path, version: str, precision: str) -> float | None:
    """Load a published checkpoint into the server, or into each server of a fleet, and prove it.

    Returns:
        Largest difference of the probe in nats; None where the folder brings no probe (a model from outside).

    Raises:
        StaleWeights: The proof failed, and failed again after the server's complete way of loading.
    """
    probe = Probe.load(folder)
    files = weight_files(folder)
    tensors = CheckpointFiles(files)

    def load(server: RolloutClient) -> float:
        wake_fully(server)
        for full in (False, True):
            begin_update(server, version)
            call_workers(server, "load_checkpoint_files", [str(file.resolve()) for file in files], full)
            forget_prefixes(server)
            turn = random.randrange(2**31)  # drawn anew, so that loading a folder again looks at other blocks
            blocks = whole_blocks(tensors.shapes) if full else chosen_blocks(tensors.shapes, turn)
            found = server_digests(server, blocks)
            ours = {name: tensors.digest(name, blocks[name], held.dtype) for name, held in found.items() if held}
            expected, scores = (probe.logprobs, server.score(probe.sequences)) if probe is not None else (None, None)
            proof = Proof(precision, expected, scores, ours, found)
            if proof.holds or (full and proof.doubtful):
                check(proof, what=f"{folder.name} on {server.url}")
                server.post("/update_weight_version", {"new_version": version})
                return proof.difference
        server.post("/update_weight_version", {"new_version": UNPROVED.format(version=version)})
        check(proof, what=f"{folder.name} on {server.url}")
        raise AssertionError("unreachable")

    differences = _on_each(client, load)
    return max(differences) if probe is not None else None


@dataclass
class Parts:
    """Where the seconds of a push went. Writing and loading overlap: `load` is what was left when all was written."""

    write: float = 0.0
    load: float = 0.0
    proof: float = 0.0
    """Until the last server was proved, counted from when the last had loaded."""


class WeightPush:
    """Pushes one trainer's model; all ranks call `push`, rank 0 talks to the servers.

    Args:
        client: A RolloutClient, or a RolloutFleet: each of its servers gets the weights.
        transfer_folder: Where both sides can read and write; only the transport `safetensors` needs one.
        precision: The server's.
        transport: See transport.py.
        sleep: Whether the servers sleep between `rest` and the next push.
    """

    def __init__(
        self,
        client: Any,
        accelerator: Any,
        transfer_folder: Path | None,
        precision: str,
        *,
        transport: str = "safetensors",
        sleep: bool = False,
    ) -> None:
        self.client, self.accelerator, self.precision = client, accelerator, precision
        self.transport = make_transport(transport, accelerator, transfer_folder)
        self.naps = Naps(client, enabled=sleep)
        self.seconds = 0.0
        """Duration of the last push, proof included."""
        self.parts = Parts()
        self.difference = 0.0
        """Of the last proof, in nats; see Proof.difference."""
        self._sequences: list[list[int]] | None = None
        self._usual: float | None = None
        """The difference that the first push showed."""
        self._turn = random.randrange(2**20)  # a step of few pushes begins anywhere, so that steps do not look alike
        self.full_pushes = 0
        """How many times a proof failed at first and a full push had to mend it."""

    def push(self, model: torch.nn.Module, version: str) -> None:
        """Collective.

        Raises:
            StaleWeights: A server does not hold the pushed weights, not even after a full push.
            ServerLost: No server is left.
            ServerError: There is no room for the weights in the transfer folder.
        """
        started = time.monotonic()
        main = self.accelerator.is_main_process
        if main:
            self.naps.wake_weights()
        proofs = self._attempt(model, version, full=False)
        if _from_main(self.accelerator, any(not proof.holds for proof in proofs.values())):
            self.full_pushes += 1
            proofs = self._attempt(model, version, full=True)
            for server, proof in proofs.items():
                if not (proof.holds or proof.doubtful):
                    server.post("/update_weight_version", {"new_version": UNPROVED.format(version=version)})
            self._together(lambda: _check_all(proofs, version))
        self.naps.awake()
        self.difference = max((proof.difference for proof in proofs.values()), default=0.0)
        if self._usual is None or any(proof.doubtful for proof in proofs.values()):
            self._usual = self.difference  # what was doubtful once is not told of again at the same height
        self._turn += 1
        self.accelerator.wait_for_everyone()
        self.seconds = time.monotonic() - started

    def rest(self) -> None:
        """Generation is over; let the servers sleep until the next push. Collective; nothing where `sleep` is off."""
        if self.naps.enabled:
            self.accelerator.wait_for_everyone()  # other ranks may still be generating
            self.naps.fall_asleep(main=self.accelerator.is_main_process)

    @property
    def asleep(self) -> bool:
        """Whether the servers have no weights: push before generating."""
        return self.naps.asleep

    def _attempt(self, model: torch.nn.Module, version: str, *, full: bool) -> dict[RolloutClient, Proof]:
        started = time.monotonic()
        unwrapped = self.accelerator.unwrap_model(model)
        main = self.accelerator.is_main_process
        infos = travelling(described(unwrapped), self.precision)
        sample = Sample(infos, self._turn, whole=full)
        servers: list[RolloutClient] = list(self.client.servers) if main else []
        passes: list[Iterator[Any]] = []

        def tensors() -> Iterator[tuple[str, torch.Tensor]]:
            for name, tensor in whole_tensors(unwrapped):
                if main:
                    sample.take(name, tensor)
                yield name, tensor

        def one_pass() -> Iterator[tuple[str, torch.Tensor]]:
            passes.append(tensors())
            return passes[-1]

        def send() -> dict[RolloutClient, Future[None]]:
            try:
                return self.transport.send(servers, infos, one_pass, version, full=full)
            finally:  # where it ended early the other ranks are still gathering, and wait for this one
                for _ in passes[-1] if passes else tensors():
                    pass

        sent = self._together(send)
        written = time.monotonic()
        if self._sequences is None:
            self._sequences = sequences_for(model, self.accelerator, self.precision)
        sequences = self._sequences
        with ThreadPoolExecutor(max(1, len(servers))) as threads:
            asked = {
                server: threads.submit(ask, server, done, sample, sequences, self.naps) for server, done in sent.items()
            }
            # While the servers load and score: the same probe with the trainer's own weights.
            probe = local_probe(model, self.accelerator, sequences)
            answers: dict[RolloutClient, Answer | None] = self._together(lambda: _kept(self.client, asked))
        loaded = max((answer.loaded for answer in answers.values() if answer is not None), default=written)
        proofs = {
            server: Proof(
                self.precision, probe.logprobs, answer.scores, sample.digests(answer.held), answer.held, self._usual
            )
            if answer is not None
            else Proof(self.precision, [[0.0]], [[math.inf]], {}, {})  # cut off: the full push begins anew
            for server, answer in answers.items()
        }
        self.parts = Parts(written - started, loaded - written, time.monotonic() - loaded)
        return proofs

    def _together(self, action: Callable[[], Any]) -> Any:
        """`action()`; where it fails on rank 0 every rank learns of it, instead of waiting for rank 0 for ever."""
        kinds = (ServerError, ServerLost, StaleWeights)
        error: Exception | None = None
        result: Any = None
        try:
            result = action()
        except Exception as caught:
            error = caught
        code = 0 if error is None else 1 + (kinds.index(type(error)) if type(error) in kinds else 0)
        agreed = _from_main(self.accelerator, code)
        if error is not None:
            raise error
        if agreed:
            raise kinds[agreed - 1]("the push failed on the first process, which says why")
        return result


def make_transport(kind: str, accelerator: Any, transfer_folder: Path | None) -> Transport:
    """The transport that a hardware profile names as `server.transport`."""
    if kind == "safetensors":
        assert transfer_folder is not None
        return SafetensorsTransport(transfer_folder, main=accelerator.is_main_process)
    return VLLMTransport(kind, rank=accelerator.process_index)


def _from_main(accelerator: Any, value: int) -> int:
    """The first process's value, on every process. Collective."""
    if accelerator.num_processes == 1:
        return value
    import torch

    own = torch.tensor(int(value) if accelerator.is_main_process else 0, device=accelerator.device)
    return int(accelerator.reduce(own, reduction="sum").item())


def _check_all(proofs: dict[RolloutClient, Proof], version: str) -> None:
    for server, proof in proofs.items():
        check(proof, what=f"{version} on {server.url}")


def _kept(client: Any, asked: dict[RolloutClient, Future[Answer]]) -> dict[RolloutClient, Answer | None]:
    """The answers of those that are left, None of one that was cut off. Raises ServerLost where no server is left, and
    any other error."""
    answers: dict[RolloutClient, Answer | None] = {}
    for server, future in asked.items():
        try:
            answers[server] = future.result()
        except TransferCutOff:
            answers[server] = None
        except ServerLost as error:
            client.drop(server, error)
    return answers


def _on_each(client: Any, call: Callable[[RolloutClient], float]) -> list[float]:
    """`call` of every server, side by side; one that is lost meanwhile is dropped if others are left."""
    servers: list[RolloutClient] = client.servers
    results = []
    with ThreadPoolExecutor(max(1, len(servers))) as threads:
        for server, future in [(server, threads.submit(call, server)) for server in servers]:
            try:
                results.append(future.result())
            except ServerLost as error:
                client.drop(server, error)
    return results
