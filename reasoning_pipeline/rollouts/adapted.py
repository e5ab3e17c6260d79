"""A frozen model and adapters beside it, in this process: each request names one, or none and gets the base itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from reasoning_pipeline.models.adapters import check_adapter
from reasoning_pipeline.models.loading import load_model, pad_id
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.clients.completions import Completion, GenerationRequest, OnResult
from reasoning_pipeline.rollouts.transformers_sampler import TransformersSampler


class AdaptedModel:
    """Adapters are read when they are first asked for, and at most `keep` are held.

    Without one the base's own layers alone run: what it writes is bit for bit what it writes with no adapter loaded.
    """

    def __init__(self, folder: Path, *, dtype: str, device: str, max_rows: int = 64, keep: int = 8) -> None:
        self.folder, self.keep = folder, keep
        model: Any = load_model(folder, dtype=dtype)
        self.model: Any = model.to(device).eval()
        self._pad, self._max_rows = pad_id(folder), max_rows
        self._held: list[str] = []

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        decoding: Decoding,
        *,
        stop_ids: Sequence[int],
        on_result: OnResult | None = None,
    ) -> list[list[Completion]]:
        """See Sampler.generate. Requests of one adapter are written together."""
        found: list[list[Completion]] = [[] for _ in requests]
        for adapter in dict.fromkeys(request.adapter for request in requests):
            at = [number for number, request in enumerate(requests) if request.adapter == adapter]

            def finished(index: int, group: list[Completion], at: list[int] = at) -> None:
                found[at[index]] = group
                if on_result is not None:
                    on_result(at[index], group)

            name = self.folder.name if adapter is None else str(adapter)
            with self._with(adapter):
                sampler = TransformersSampler(self.model, pad_id=self._pad, version=name, max_rows=self._max_rows)
                sampler.generate([requests[n] for n in at], decoding, stop_ids=stop_ids, on_result=finished)
        return found

    def loss(self, rows: Sequence[tuple[list[int], list[int]]], *, adapter: Path | None = None) -> float:
        """Mean negative log-probability, nats a token, of completions given their prompts."""
        total, tokens = 0.0, 0
        with self._with(adapter), torch.no_grad():
            for prompt, completion in rows:
                ids = torch.tensor([prompt + completion], device=self.model.device)
                logits = self.model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
                total += float(cross_entropy(logits, ids[0, len(prompt) :], reduction="sum"))
                tokens += len(completion)
        return total / max(tokens, 1)

    @contextmanager
    def _with(self, adapter: Path | None) -> Iterator[None]:
        if adapter is not None:
            self._load(adapter)
            self.model.set_adapter(_name(adapter))
        off = self.model.disable_adapter() if adapter is None and self._held else nullcontext()
        with off:
            yield

    def _load(self, adapter: Path) -> None:
        name = _name(adapter)
        if name in self._held:
            return
        from peft import PeftModel

        check_adapter(adapter, self.folder)
        if not self._held:
            self.model = PeftModel.from_pretrained(self.model, str(adapter), adapter_name=name)
        else:
            self.model.load_adapter(str(adapter), adapter_name=name)
        self.model.eval()
        self._held.append(name)
        if len(self._held) > self.keep:
            self.model.delete_adapter(self._held.pop(0))


def _name(adapter: Path) -> str:
    """A module's name may hold no dot."""
    return str(adapter.resolve()).replace(".", "_").replace("/", "_")
