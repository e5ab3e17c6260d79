"""A catalogue of two domains that a test can follow by hand, and a context for stages."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from reasoning_pipeline.run.metrics import Metrics
from reasoning_pipeline.workflows.recommendation.histories import Histories, History, Item


def catalogue(count: int = 40) -> tuple[Item, ...]:
    """Half A, half B: A0 … then B0 …"""
    half = count // 2
    return tuple(
        Item(id=f"{domain}{n}", domain=domain, title=f"{word} number {n}")
        for domain, word in (("A", "soup"), ("B", "pan"))
        for n in range(half)
    )


def histories(*rows: tuple[int, ...], split: str = "leave_one_out", items: int = 40) -> Histories:
    users = [History(user=f"u{n}", items=row, split=split) for n, row in enumerate(rows)]  # type: ignore[arg-type]
    return Histories(catalogue(items), tuple(users))


def directions(count: int, width: int = 8, seed: int = 0) -> np.ndarray:
    """Rows of length 1."""
    rows = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def context(work: Path, seed: int = 0, **more: Any) -> Any:
    work.mkdir(parents=True, exist_ok=True)

    def start_metrics(*, total_steps: int | None, resumed_at: int = 0) -> Metrics:
        return Metrics(work, total_steps=total_steps, resumed_at=resumed_at)

    return SimpleNamespace(work=work, seed=seed, start_metrics=start_metrics, stop_if_asked=lambda: None, **more)
