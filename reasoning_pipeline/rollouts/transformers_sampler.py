"""The fallback where vLLM is not installed: `transformers` generate, in this process, on a model held here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.clients.completions import Completion, GenerationRequest, sample_seeds


class TransformersSampler:
    """A Sampler over a model in this process; slower than a server by an order of magnitude, same distribution.

    As on a server, a rollout's seed decides what is drawn, whatever else is in the batch (but for rounding: logits
    depend in the last bits on the batch). So what a killed step still has to write comes out as if nothing had been.
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
        rows = [(index, request, seed) for index, request in enumerate(requests) for seed in sample_seeds(request)]
        completions: list[list[Completion]] = [[] for _ in requests]
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                for start in range(0, len(rows), self.max_rows):
                    part = rows[start : start + self.max_rows]
                    for (index, _, _), completion in zip(part, self._batch(part, decoding, stop_ids), strict=True):
                        completions[index].append(completion)
                        if on_result is not None and len(completions[index]) == requests[index].n:
                            on_result(index, completions[index])
        finally:
            self.model.train(was_training)
        return completions

    def _batch(
        self, rows: list[tuple[int, GenerationRequest, int]], decoding: Decoding, stop_ids: Sequence[int]
    ) -> list[Completion]:
        device = self.model.device
        width = max(len(request.prompt_ids) for _, request, _ in rows)
        input_ids = torch.full((len(rows), width), self.pad_id, device=device)
        attention_mask = torch.zeros_like(input_ids)
        for row, (_, request, _) in enumerate(rows):
            input_ids[row, width - len(request.prompt_ids) :] = torch.tensor(request.prompt_ids, device=device)
            attention_mask[row, width - len(request.prompt_ids) :] = 1
        draw = _Draw([seed for _, _, seed in rows], decoding)
        with _no_defaults_of_its_own(self.model):
            output = self.model.generate(
                input_ids=input_ids,
                attention_mask=attention_mask,
                max_new_tokens=decoding.max_tokens,
                do_sample=False,  # the drawing is done by `draw`, which leaves one token to choose from
                use_cache=True,  # trainers switch it off in the model's configuration
                logits_processor=LogitsProcessorList([*_truncation(decoding), draw]),
                eos_token_id=list(stop_ids) or None,
                pad_token_id=self.pad_id,
            )
        logprobs_BT = torch.stack(draw.logprobs, dim=1)
        return [
            self._completion(tokens, logprobs, stop_ids)
            for tokens, logprobs in zip(output[:, width:].tolist(), logprobs_BT.tolist(), strict=True)
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


@contextmanager
def _no_defaults_of_its_own(model: Any) -> Iterator[None]:
    """Transformers fills whatever a call of `generate` leaves open from the model's generation_config.json: a
    repetition penalty there would bend what is drawn, and the log-probabilities that are told."""
    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


class _Draw(LogitsProcessor):
    """Draws each row's next token by that row's own uniform numbers, and remembers its log-probability.

    Example: probabilities (0.2, 0.5, 0.3) and the number 0.6 give token 1, the first whose cumulative sum exceeds it.
    """

    def __init__(self, seeds: Sequence[int], decoding: Decoding) -> None:
        self.greedy = decoding.temperature == 0
        self.uniform_BT = torch.stack(
            [torch.rand(decoding.max_tokens, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        )
        self.logprobs: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        logprobs_BV = scores.float().log_softmax(-1)
        if self.greedy:
            tokens_B1 = logprobs_BV.argmax(-1, keepdim=True)
        else:
            cumulative_BV = logprobs_BV.double().exp().cumsum(-1)
            uniform_B1 = self.uniform_BT[:, len(self.logprobs), None].to(scores.device)
            # Against the last sum, not 1: rounding must not draw a token of probability 0 behind the last possible one.
            tokens_B1 = torch.searchsorted(cumulative_BV, uniform_B1 * cumulative_BV[:, -1:], right=True)
            tokens_B1 = tokens_B1.clamp(max=scores.shape[-1] - 1)
        self.logprobs.append(logprobs_BV.gather(-1, tokens_B1).squeeze(-1))
        return torch.full_like(scores, float("-inf")).scatter(-1, tokens_B1, 0.0)


def _truncation(decoding: Decoding) -> list[LogitsProcessor]:
    """Temperature first, then what cuts the distribution off, as transformers' own sampling does it."""
    if decoding.temperature == 0:
        return []
    found: list[LogitsProcessor] = []
    if decoding.temperature != 1:
        found.append(TemperatureLogitsWarper(decoding.temperature))
    if decoding.top_k > 0:
        found.append(TopKLogitsWarper(decoding.top_k))
    if decoding.top_p < 1:
        found.append(TopPLogitsWarper(decoding.top_p))
    if decoding.min_p > 0:
        found.append(MinPLogitsWarper(decoding.min_p))
    return found
