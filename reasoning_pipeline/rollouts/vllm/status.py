"""What a server tells of itself on /status: figures only, from vLLM's own metrics and the process tree."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from pathlib import Path
from typing import Any

import psutil
from vllm.v1.metrics.reader import Counter, Gauge, get_metrics_snapshot

from reasoning_pipeline.models.architecture import architecture_digest

INTERVAL_SECONDS = 10.0
"""Tokens per second are those of the last interval."""
_SAMPLES = 5


class ServerStatus:
    """Figures of one server.

    Example of `now()`:
        {"model": "policy", "architecture": "9f3c…", "max_model_len": 2048, "policy_version": "grpo-3f2a:12",
         "pid": 4711, "started": 1763740800.0, "running": 256, "waiting": 12, "kv_cache_use": 0.41,
         "tokens_per_s": 8300.0, "tokens": 1200000, "memory_gib": 2.1, "gpu_memory_gib": None}

    `memory_gib` sums the resident memory of the server's processes; what they share counts in each.
    """

    def __init__(self, engine: Any, model: str) -> None:
        self.engine, self.model = engine, model
        self.started = time.time()
        config = engine.vllm_config.model_config
        self.max_model_len = config.max_model_len
        self.architecture = architecture_digest(Path(config.model))
        self._written: deque[tuple[float, int]] = deque(maxlen=_SAMPLES + 1)
        """(monotonic seconds, tokens generated until then)."""
        self._watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._watch = asyncio.create_task(self._sample())

    async def now(self) -> dict[str, Any]:
        figures = _metrics()
        try:
            version = await asyncio.wait_for(self.engine.get_weight_version(), 2.0)
        except TimeoutError:
            version = None  # the engine's process is busy or frozen
        return {
            "model": self.model,
            "architecture": self.architecture,
            "max_model_len": self.max_model_len,
            "policy_version": version,
            "pid": psutil.Process().pid,
            "started": self.started,
            "running": int(figures.get("vllm:num_requests_running", 0)),
            "waiting": int(figures.get("vllm:num_requests_waiting", 0)),
            "kv_cache_use": figures.get("vllm:kv_cache_usage_perc", 0.0),
            "tokens_per_s": self._rate(int(figures.get("vllm:generation_tokens", 0))),
            "tokens": int(figures.get("vllm:generation_tokens", 0)),
            "memory_gib": _resident_bytes() / 2**30,
            "gpu_memory_gib": _gpu_gib(),
        }

    async def _sample(self) -> None:
        while True:
            self._written.append((time.monotonic(), int(_metrics().get("vllm:generation_tokens", 0))))
            await asyncio.sleep(INTERVAL_SECONDS / _SAMPLES)

    def _rate(self, tokens: int) -> float:
        if not self._written:
            return 0.0
        since, before = self._written[0]
        seconds = time.monotonic() - since
        return (tokens - before) / seconds if seconds > 0 else 0.0


def _metrics() -> dict[str, float]:
    """vLLM's gauges and counters, summed over engines."""
    figures: dict[str, float] = {}
    for metric in get_metrics_snapshot():
        if isinstance(metric, (Counter, Gauge)):
            figures[metric.name] = figures.get(metric.name, 0.0) + metric.value
    return figures


def _family() -> list[psutil.Process]:
    own = psutil.Process()
    return [own, *own.children(recursive=True)]


def _resident_bytes() -> int:
    total = 0
    for process in _family():
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _gpu_gib() -> float | None:
    """GPU memory of this server's processes; None without a GPU or a driver that tells."""
    from vllm.platforms import current_platform

    if not current_platform.is_cuda():
        return None
    from vllm.third_party import pynvml

    own = {process.pid for process in _family()}
    total = 0
    try:
        pynvml.nvmlInit()
        for index in range(pynvml.nvmlDeviceGetCount()):
            for used in pynvml.nvmlDeviceGetComputeRunningProcesses(pynvml.nvmlDeviceGetHandleByIndex(index)):
                total += (used.usedGpuMemory or 0) if used.pid in own else 0
    except pynvml.NVMLError:
        return None
    return total / 2**30
