"""A sampler that says what it is told: in place of mocks, tests of evaluations and stages replay known answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.records import Decoding, FinishReason
from reasoning_pipeline.rollouts.clients.completions import Completion, GenerationRequest

Answer = str | tuple[str, FinishReason]
"""A completion's text, with how it finished where that is not "stop"."""


class ScriptedSampler:
    """Answers each prompt from a function of (prompt ids, index of the sample).

    The index counts the completions this sampler has written for that prompt, from 0. A text longer than the token
    limit is cut there and finishes with "length", as an engine would do it.

    Example:
        ScriptedSampler(lambda prompt_ids, sample: "\\\\boxed{4}" if sample % 2 else "no idea", renderer)
    """

    def __init__(
        self,
        answers: Callable[[list[int], int], Answer],
        renderer: PromptRenderer,
        *,
        policy_version: str = "scripted:0",
    ) -> None:
        self.answers = answers
        self.renderer = renderer
        self.policy_version = policy_version
        self.requests: list[GenerationRequest] = []
        """Everything it was asked, in order: tests look here for what was sampled twice."""
        self._written: Counter[tuple[int, ...]] = Counter()

    def answer(self, request: GenerationRequest, sample: int) -> Answer:
        """One completion's text; a test that needs the request's seed overrides this."""
        return self.answers(request.prompt_ids, sample)

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        decoding: Decoding,
        *,
        stop_ids: Sequence[int],
        on_result: Callable[[int, list[Completion]], None] | None = None,
    ) -> list[list[Completion]]:
        results = []
        for index, request in enumerate(requests):
            self.requests.append(request)
            completions = [self._completion(request, decoding, stop_ids) for _ in range(request.n)]
            results.append(completions)
            if on_result is not None:
                on_result(index, completions)
        return results

    def _completion(self, request: GenerationRequest, decoding: Decoding, stop_ids: Sequence[int]) -> Completion:
        key = tuple(request.prompt_ids)
        answer = self.answer(request, self._written[key])
        self._written[key] += 1
        text: str
        finish: FinishReason
        text, finish = (answer, "stop") if isinstance(answer, str) else answer
        ids = self.renderer.tokenizer.encode(text, add_special_tokens=False).ids
        if finish == "stop":
            ids = [*ids, stop_ids[0]]
        if len(ids) > decoding.max_tokens:
            ids, finish = ids[: decoding.max_tokens], "length"
        return Completion(token_ids=ids, logprobs=[0.0] * len(ids), finish=finish, policy_version=self.policy_version)
