"""What benchmarks share: the line that says where, figures against limits, the clock, and models of random weights."""

from __future__ import annotations

import csv
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from reasoning_pipeline.registry.provenance import cpu_model

PROJECT = Path(__file__).resolve().parent.parent


def where() -> str:
    """Date and machine, as a document gives them beside a figure; the load says whether others were at work.

    Example:
        2026-11-21, 2 cores of AMD EPYC, 24 GiB, no GPU, Python 3.11.7, load 0.3
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpus = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    beside = f"{gpus} GPUs" if gpus > 1 else "1 GPU" if gpus else "no GPU"
    machine = f"{os.cpu_count()} cores of {cpu_model()}, {memory:.0f} GiB, {beside}"
    return f"{date.today()}, {machine}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"


def note_source(path: Path, command: str) -> None:
    """The line of docs/figures/sources.csv that says where a file beside it comes from; a line that was there goes."""
    sources = path.with_name("sources.csv")
    if not sources.is_file():
        return
    with sources.open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["file"] != path.name]
    day, _, machine = where().partition(", ")
    lines.append({"file": path.name, "command": command, "machine": machine, "date": day, "note": ""})
    with sources.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lines[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(lines, key=lambda line: line["file"]))


@dataclass(frozen=True)
class Figure:
    """One measured figure; `limit` in the same unit, None where there is none."""

    what: str
    found: float
    limit: float | None
    unit: str

    @property
    def missed(self) -> bool:
        return self.limit is not None and self.found > self.limit

    def row(self) -> str:
        limit = "" if self.limit is None else f"{self.limit:g} {self.unit}"
        return (
            f"| {self.what} | {self.found:.3g} {self.unit} | {limit} |{'  <-- over the limit' if self.missed else ''}"
        )


def call(command: list[str]) -> None:
    subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)


def median(action: Callable[[], object], runs: int = 7) -> float:
    """Seconds."""
    return statistics.median(timed(action, runs))


def timed(action: Callable[[], object], runs: int = 7) -> list[float]:
    """Seconds of each run."""
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return seconds


def random_model(
    folder: Path, *, vocabulary: int, hidden: int, layers: int, heads: int, kv_heads: int, head_dim: int, **other: Any
) -> Any:
    """A Qwen3 of random weights, head and embedding tied, saved with the tokenizer of the arithmetic world."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from reasoning_pipeline.data.tokenizer_making import save_character_tokenizer

    save_character_tokenizer(folder)
    torch.manual_seed(0)
    settings = {"max_position_embeddings": 512, "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 2} | other
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=vocabulary,
            hidden_size=hidden,
            intermediate_size=3 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            head_dim=head_dim,
            tie_word_embeddings=True,
            **settings,
        )
    )
    model.save_pretrained(folder)
    return model
