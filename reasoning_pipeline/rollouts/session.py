"""A sampler that holds a given checkpoint's weights: in a running server, in one started for the purpose, or here."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.hardware.profile import HardwareProfile, load_profile
from reasoning_pipeline.models.architecture import architecture, bounded_length
from reasoning_pipeline.models.weights import homes
from reasoning_pipeline.rollouts.clients.client import RolloutClient
from reasoning_pipeline.rollouts.clients.completions import Completion, Sampler
from reasoning_pipeline.rollouts.weights.push import load_folder

if TYPE_CHECKING:
    from reasoning_pipeline.records import Decoding


class CheckpointSampler:
    """A sampler that can be given another checkpoint of the same architecture."""

    def __init__(self, folder: Path, profile: HardwareProfile, client: RolloutClient | None) -> None:
        self.folder, self.profile, self.client = folder, profile, client
        self._inner: Sampler | None = None
        self.proof: float | None = None
        """Largest difference of the weight proof in nats; None where there was nothing to compare with."""
        self.load_checkpoint(folder)

    def load_checkpoint(self, folder: Path) -> None:
        """Swap weights. Raises IncompatibleModels for another architecture, StaleWeights where the proof fails."""
        if architecture(folder) != architecture(self.folder):
            raise IncompatibleModels(
                f"{folder.name} has another architecture than {self.folder.name}, which the server was started for",
                remedy="start another session for it",
            )
        if self.client is not None:
            self.proof = load_folder(self.client, folder, folder.name, self.profile.precision)
            self._inner = self.client
        else:
            self._inner = transformers_sampler(folder, self.profile)

    def generate(self, requests: Any, decoding: Decoding, **options: Any) -> list[list[Completion]]:
        """See Sampler.generate."""
        assert self._inner is not None
        result: list[list[Completion]] = self._inner.generate(requests, decoding, **options)
        return result


@contextmanager
def rollout_session(
    folder: Path,
    *,
    hardware: str | HardwareProfile | None = None,
    server: str | None = None,
    max_model_len: int | None = None,
    label: str = "session",
    others: Sequence[Path] = (),
) -> Iterator[CheckpointSampler]:
    """A sampler whose weights are proved to be the folder's.

    Args:
        hardware: Profile, or its name or path; `cpu` where it is not given.
        server: URL of a running rollout server of the same architecture (its key in the environment); a server is
            started, and stopped afterwards, where it is not given.
        max_model_len: Longest prompt plus completion, in tokens; bounded by the model's positions.
        label: Names the server's log.
        others: Checkpoints from elsewhere than beside `folder` that will be loaded into it.
    """
    profile = hardware if isinstance(hardware, HardwareProfile) else load_profile(hardware)
    if server is not None:
        client = RolloutClient(
            server, timeout_s=profile.server.request_timeout_s, silence_s=profile.server.silence_timeout_s
        )
        try:
            yield CheckpointSampler(folder, profile, client)
        finally:
            client.close()
        return
    if profile.engine == "transformers":
        yield CheckpointSampler(folder, profile, None)
        return
    from reasoning_pipeline.rollouts.servers.alone import alone_on_this_machine
    from reasoning_pipeline.rollouts.servers.process import RolloutServer

    log = Path(tempfile.gettempdir()) / f"reasoning-pipeline-{os.getpid()}-{label.replace('/', '-')}.log"
    length = bounded_length(folder, max_model_len, trains=False)
    alone = alone_on_this_machine(profile, folder, length)
    readable = (folder.parent, *(home for one in others for home in homes(one)))
    owned = RolloutServer(folder, alone, log, readable=readable, max_model_len=length)
    try:
        owned.start()
        owned.wait_ready()
        yield CheckpointSampler(folder, profile, owned.client)
    finally:
        owned.stop()


def transformers_sampler(folder: Path, profile: HardwareProfile) -> Sampler:
    """The model in this process, for profiles without vLLM."""
    from reasoning_pipeline.models.loading import load_model, pad_id
    from reasoning_pipeline.rollouts.transformers_sampler import TransformersSampler

    model: Any = load_model(folder, dtype=profile.precision)
    model.to(profile.device)
    return TransformersSampler(model, pad_id=pad_id(folder), version=folder.name)
