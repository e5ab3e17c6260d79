"""Asking a model in texts: rendered, sampled with seeds of their own, decoded, and remembered on disk.

What was answered once is not asked again after a kill: a reply is kept under a digest of the prompt and of how it was
asked, in the step's work folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from reasoning_pipeline.base.fingerprint import digest, seed_from
from reasoning_pipeline.base.jsonl import lines, read_rows
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.clients.completions import Completion, GenerationRequest, Sampler
from reasoning_pipeline.run.context import StageContext


class Memory:
    """Replies of this step that are on the disk."""

    def __init__(self, path: Path) -> None:
        self.known: dict[str, list[str]] = {}
        if path.is_file():
            self.known = {row["key"]: row["texts"] for row in read_rows(path, torn=True)}
            path.write_text(lines({"key": key, "texts": texts} for key, texts in self.known.items()), encoding="utf-8")
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def add(self, key: str, texts: list[str]) -> None:
        self.known[key] = texts
        self._file.write(lines([{"key": key, "texts": texts}]))
        self._file.flush()


class Speaker:
    """One model, asked in texts.

    Args:
        version: Of its weights; part of what a reply is remembered under.
        between: Called as each reply arrives; what it raises ends the asking.
    """

    def __init__(
        self,
        sampler: Sampler,
        renderer: PromptRenderer,
        *,
        version: str,
        memory: Memory | None = None,
        max_prompt_tokens: int = 12_000,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self.sampler, self.renderer, self.version = sampler, renderer, version
        self.memory, self.between, self.max_prompt_tokens = memory, between, max_prompt_tokens
        self.generations = self.tokens = 0
        """Completions and tokens that were really written."""

    def ask(
        self,
        questions: Sequence[str],
        decoding: Decoding,
        *,
        n: int = 1,
        adapter: Path | None = None,
        schema: str | None = None,
    ) -> list[list[str]]:
        """`n` replies to each question. Equal questions get equal replies.

        Raises PipelineError for a prompt of more than `max_prompt_tokens` tokens.
        """
        manner: dict[str, Any] = {"decoding": asdict(decoding), "n": n, "model": self.version}
        if adapter is not None:  # by its name in its step's folder, which does not move between two tries
            manner["adapter"] = "/".join(adapter.parts[-3:])
        if schema is not None:
            manner["schema"] = schema
        keys = [digest({"question": question, **manner}) for question in questions]
        known = self.memory.known if self.memory is not None else {}
        missing = {key: text for key, text in zip(keys, questions, strict=True) if key not in known}
        found: dict[str, list[str]] = {}
        order = list(missing)
        requests = [
            GenerationRequest(
                prompt_ids=self._prompt(missing[key]),
                n=n,
                seed=seed_from(f"{decoding.seed}/{key}"),
                adapter=adapter,
                schema=schema,
            )
            for key in order
        ]

        def finished(index: int, group: list[Completion]) -> None:
            texts = [self.renderer.decode(completion.token_ids).strip() for completion in group]
            self.generations += len(group)
            self.tokens += sum(len(completion.token_ids) for completion in group)
            found[order[index]] = texts
            if self.memory is not None:
                self.memory.add(order[index], texts)
            self.between()

        if requests:
            self.sampler.generate(requests, decoding, stop_ids=self.renderer.stop_ids, on_result=finished)
        return [known[key] if key in known else found[key] for key in keys]

    def answer(self, questions: Sequence[str], decoding: Decoding, *, adapter: Path | None = None) -> list[str]:
        """One reply to each."""
        return [replies[0] for replies in self.ask(questions, decoding, adapter=adapter)]

    def ids(self, prompt: str, completion: str) -> tuple[list[int], list[int]]:
        """Token ids to learn from: the rendered prompt, and the completion with its end."""
        return self.renderer.prompt_ids(prompt), completion_ids(self.renderer, completion)

    def _prompt(self, question: str) -> list[int]:
        ids = self.renderer.prompt_ids(question)
        if len(ids) > self.max_prompt_tokens:
            raise PipelineError(
                f"a prompt of {len(ids):,} tokens (at most {self.max_prompt_tokens:,}): {question[:80]!r}…",
                remedy="raise max_prompt_tokens, or leave out the row that it was made of",
            )
        return ids


def speaker(
    context: StageContext,
    field: str,
    *,
    max_prompt_tokens: int,
    memory: Memory | None = None,
    sampler: Sampler | None = None,
) -> Speaker:
    """The model of a field of the step's config. Asking stops when the step is asked to.

    Args:
        sampler: What writes with it; the run's engine (a server, or this process) where none is given.
    """
    return Speaker(
        sampler or context.sampler(field),
        context.renderer(field),
        version=context.inputs[field].name,
        memory=memory,
        max_prompt_tokens=max_prompt_tokens,
        between=context.stop_if_asked,
    )


def completion_ids(renderer: PromptRenderer, text: str) -> list[int]:
    """As the model would have to write it: the text's tokens and an end token."""
    end: int = renderer.stop_ids[-1]
    declared = renderer._special_token_texts.get("eos_token")
    if declared is not None and (found := renderer.tokenizer.token_to_id(declared)) is not None:
        end = found
    return [*renderer.tokenizer.encode(text, add_special_tokens=False).ids, end]
