"""A catalogue of two domains that a test can follow by hand, and a context for stages."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from reasoning_pipeline.run.metrics import Metrics
from reasoning_pipeline.workflows.recommendation.embedding import ItemTable
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


WORDS = {"by": "words", "per_domain": False, "model": ""}


def table_of(found: Histories, vectors: np.ndarray) -> ItemTable:
    raw = np.eye(vectors.shape[1], dtype=np.float32)
    return ItemTable(vectors, np.zeros(len(raw), np.float32), raw, WORDS, found.items_digest)


def inputs_of(folder: Path, found: Histories, vectors: np.ndarray) -> dict[str, Path]:
    """What stages read as `histories` and `items`."""
    folder.mkdir(parents=True, exist_ok=True)
    found.save(folder)
    table_of(found, vectors).save(folder)
    return {"histories": folder, "items": folder}


def context(work: Path, seed: int = 0, **more: Any) -> Any:
    output = work / "output"
    output.mkdir(parents=True, exist_ok=True)

    def start_metrics(*, total_steps: int | None, resumed_at: int = 0) -> Metrics:
        return Metrics(work, total_steps=total_steps, resumed_at=resumed_at)

    own = {"stop_if_asked": lambda: None, "fresh_output": lambda: output, "copy_metrics": lambda folder: None}
    return SimpleNamespace(work=work, seed=seed, start_metrics=start_metrics, **(own | more))
