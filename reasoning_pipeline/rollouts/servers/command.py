"""How a vLLM server is started: where it listens and for whom, its command line, its environment.

It listens on loopback behind a random key. Development routes (weight updates) are open to whoever holds the key, so
the key travels only in the environment.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reasoning_pipeline.base.ownership import owner_environment
from reasoning_pipeline.errors import ServerError
from reasoning_pipeline.hardware.environment import devices_of_ours, own_environment
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.rollouts.clients.client import POLICY_NAME
from reasoning_pipeline.rollouts.vllm.plugin import (
    BACKENDS,
    FOLDERS_VARIABLE,
    SILENCE_VARIABLE,
    SOCKETS_VARIABLE,
    WORKER_EXTENSION,
)

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM's `--max-lora-rank` takes."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """Where a server listens, for whom, and what it lets them do."""

    host: str = "127.0.0.1"
    port: int | None = None
    """None: a free one is chosen."""
    key: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    name: str | None = None
    """Model name it answers to besides POLICY_NAME; the folder's where it is not given."""
    also: tuple[str, ...] = ()
    """Further names."""
    development: bool = True
    """Whether weights may be pushed. Off, it is a plain OpenAI-compatible server with our two routes."""
    adapters: tuple[int, int] | None = None
    """(largest rank, how many at once) of the low-rank adapters that requests may name; None serves none."""

    def named(self, folder: Path) -> str:
        """The name of what serves this folder."""
        return self.name or folder.name


def serve_command(
    folder: Path, profile: HardwareProfile, service: Service, port: int, max_model_len: int | None = None
) -> list[str]:
    """The command line of a server of `folder`. It holds no key."""
    server = profile.server
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(folder)]
    command += ["--disable-uvicorn-access-log"]
    command += ["--served-model-name", service.named(folder), *service.also, POLICY_NAME]
    options: dict[str, str | int | float] = {
        "host": service.host,
        "port": port,
        "dtype": profile.precision,
        # The files that a trainer reads; of a repository that has Mistral's own, too, vLLM would choose those.
        "config-format": "hf",
        "load-format": "safetensors",
        "max-num-seqs": server.max_sequences,
        "max-logprobs": -1,
        # Ratios and divergences need the distribution that was sampled from, not the raw one.
        "logprobs-mode": "processed_logprobs",
    }
    if service.development:
        # Every decoding field is sent with each request; nothing may come from generation_config.json.
        options["generation-config"] = "vllm"
        options["weight-transfer-config"] = json.dumps({"backend": BACKENDS[server.transport]})
        options["worker-extension-cls"] = WORKER_EXTENSION
        if server.sleep:
            command += ["--enable-sleep-mode"]
    if service.adapters is not None:
        rank, count = service.adapters
        if rank > LORA_RANKS[-1]:
            raise ServerError(f"an adapter of rank {rank}; vLLM serves up to {LORA_RANKS[-1]}")
        command += ["--enable-lora"]
        options["max-lora-rank"] = next(allowed for allowed in LORA_RANKS if allowed >= rank)
        options["max-loras"] = count
    if profile.device == "cuda":
        options |= {
            "gpu-memory-utilization": server.gpu_memory_utilization,
            "tensor-parallel-size": server.tensor_parallel,
        }
    else:
        # vLLM 0.31 cannot rewind a seeded CPU generator, which it does when a prompt is prefilled in chunks: its
        # engine dies. Whole prompts only, then.
        command += ["--enforce-eager", "--no-enable-chunked-prefill"]
    if max_model_len is not None:
        options["max-model-len"] = max_model_len
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    return [*command, *server.arguments]


def serve_environment(
    profile: HardwareProfile,
    service: Service,
    readable: Sequence[Path] = (),
    devices: str | None = None,
    sockets: Path | None = None,
) -> dict[str, str]:
    """What a server finds in its environment.

    Args:
        readable: Folders that it may load weights from.
        devices: CUDA_VISIBLE_DEVICES; None leaves it as it is.
        sockets: Folder of the sockets between its processes; vLLM's own choice is the folder of all temporary files.
    """
    server = profile.server
    environment = {
        **own_environment(os.environ),
        "VLLM_API_KEY": service.key,
        "VLLM_SERVER_DEV_MODE": "1" if service.development else "0",
        "VLLM_PLUGINS": "reasoning_pipeline",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "INFO",
        FOLDERS_VARIABLE: json.dumps([str(folder.resolve()) for folder in readable]),
        SILENCE_VARIABLE: str(server.silence_timeout_s),
        **owner_environment(),
    }
    if profile.device == "cpu":
        environment |= {
            "VLLM_CPU_KVCACHE_SPACE": str(server.kv_cache_gib),
            # Bound threads of two servers would sit on the same cores.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            # The engine works in its own process and not in one more beside it, which vLLM has on CPUs to bind OpenMP's
            # threads; ours are not bound. A quarter less to start, 0.6 GiB less to hold.
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        }
        if server.threads is not None:
            environment["OMP_NUM_THREADS"] = str(server.threads)
    if sockets is not None:
        environment[SOCKETS_VARIABLE] = str(sockets)
    if devices is not None:
        visible = environment.get("CUDA_VISIBLE_DEVICES")
        environment["CUDA_VISIBLE_DEVICES"] = devices_of_ours(devices, visible)
    return environment | server.environment
