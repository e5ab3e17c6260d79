"""Sleeping servers: on one GPU the server's memory goes to the trainer while the optimizer works.

vLLM's level 2 frees weights and key-value cache both; the weights come back by the next push. The order of one step:

    generate -> sleep -> optimizer step -> wake the weights' memory -> push -> wake the cache's -> proof -> generate

The cache wakes before the proof, not after it: the probe is a forward pass, and needs one.
"""

from __future__ import annotations

from typing import Any

from reasoning_pipeline.rollouts.clients.client import RolloutClient


class Naps:
    """The sleep of a client's servers. Every rank has one and they agree; only the first process makes the calls."""

    def __init__(self, client: Any, *, enabled: bool) -> None:
        self.client, self.enabled = client, enabled
        self.asleep = False

    def fall_asleep(self, *, main: bool) -> None:
        """After generation. Waits for what is still being written; weights are gone afterwards."""
        self.asleep = True
        if main:
            for server in self.client.servers:
                server.post("/sleep?level=2&mode=wait", {})

    def wake_weights(self) -> None:
        """Before a push. Asked even when nobody is known to sleep: a trainer that was killed may have left them so."""
        if not self.enabled:
            return
        _give_back_cached_memory()
        for server in self.client.servers:
            if is_sleeping(server):
                server.post("/wake_up?tags=weights", {})

    def wake_cache(self, server: RolloutClient) -> None:
        """When the weights are there, before they are proved."""
        if self.enabled and is_sleeping(server):
            server.post("/wake_up?tags=kv_cache", {})

    def awake(self) -> None:
        """A push has been proved."""
        self.asleep = False


def is_sleeping(server: RolloutClient) -> bool:
    return bool(server.get("/is_sleeping")["is_sleeping"])


def wake_fully(server: RolloutClient) -> None:
    """Before a checkpoint is loaded from its files: the step before may have left the server asleep."""
    if is_sleeping(server):
        server.post("/wake_up", {})


def _give_back_cached_memory() -> None:
    """PyTorch keeps freed GPU memory for itself; the server needs it now."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
