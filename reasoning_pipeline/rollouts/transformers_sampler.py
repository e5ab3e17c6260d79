"""The fallback where vLLM is not installed: `transformers` generate, in this process, on a model held here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.client import Completion, GenerationRequest


class TransformersSampler:
    """A Sampler over a model in this process; slower than a server by an order of magnitude, same distribution.

    Seeds hold for a whole batch: the same requests in the same order with the same decoding draw the same rollouts.
    """

    def __init__(self, model: Any, *, pad_id: int, version: str = "in-process", max_rows: int = 512) -> None:
        self.model, self.pad_id, self.version, self.max_rows = model, pad_id, version, max_rows

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        decoding: Decoding,
        *,
        stop_ids: Sequence[int],
        on_result: Callable[[int, list[Completion]], None] | None = None,
    ) -> list[list[Completion]]:
        """See Sampler.generate."""
        rows = [(index, request) for index, request in enumerate(requests) for _ in range(request.n)]
        completions: list[list[Completion]] = [[] for _ in requests]
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.random.fork_rng(), torch.no_grad():
                torch.manual_seed(sum((i + 1) * r.seed for i, r in enumerate(requests)) % (1 << 63))
                for start in range(0, len(rows), self.max_rows):
                    part = rows[start : start + self.max_rows]
                    for (index, _), completion in zip(part, self._batch(part, decoding, stop_ids), strict=True):
                        completions[index].append(completion)
        finally:
            self.model.train(was_training)
        if on_result is not None:
            for index, group in enumerate(completions):
                on_result(index, group)
        return completions

    def _batch(
        self, rows: list[tuple[int, GenerationRequest]], decoding: Decoding, stop_ids: Sequence[int]
    ) -> list[Completion]:
        device = self.model.device
        width = max(len(request.prompt_ids) for _, request in rows)
        input_ids = torch.full((len(rows), width), self.pad_id, device=device)
        attention_mask = torch.zeros_like(input_ids)
        for row, (_, request) in enumerate(rows):
            input_ids[row, width - len(request.prompt_ids) :] = torch.tensor(request.prompt_ids, device=device)
            attention_mask[row, width - len(request.prompt_ids) :] = 1
        sampling = decoding.temperature > 0
        output = self.model.generate(
            input_ids=input_ids,
            attention_mask=attention_mask,
            max_new_tokens=decoding.max_tokens,
            do_sample=sampling,
            temperature=decoding.temperature if sampling else None,
            top_p=decoding.top_p if sampling else None,
            top_k=decoding.top_k if sampling else None,
            min_p=(decoding.min_p or None) if sampling else None,
            eos_token_id=list(stop_ids),
            pad_token_id=self.pad_id,
            return_dict_in_generate=True,
            output_scores=True,
        )
        tokens_BT = output.sequences[:, width:]
        logprobs_BT = torch.stack(
            [
                scores_BV.float().log_softmax(-1).gather(-1, tokens_BT[:, t : t + 1]).squeeze(-1)
                for t, scores_BV in enumerate(output.scores)
            ],
            dim=1,
        )
        return [
            self._completion(tokens, logprobs, stop_ids)
            for tokens, logprobs in zip(tokens_BT.tolist(), logprobs_BT.tolist(), strict=True)
        ]

    def _completion(self, tokens: list[int], logprobs: list[float], stop_ids: Sequence[int]) -> Completion:
        end = next((position for position, token in enumerate(tokens) if token in stop_ids), None)
        length = len(tokens) if end is None else end + 1
        return Completion(
            token_ids=tokens[:length],
            logprobs=logprobs[:length],
            finish="length" if end is None else "stop",
            policy_version=self.version,
        )
