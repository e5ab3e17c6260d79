"""A language model of the run, asked many prompts: through the rollout server or in this process; resumable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reasoning_pipeline.base.fingerprint import seed_from
from reasoning_pipeline.base.jsonl import lines, read_rows
from reasoning_pipeline.records import Decoding

if TYPE_CHECKING:
    from reasoning_pipeline.rollouts.clients.completions import Completion
    from reasoning_pipeline.run.context import StageContext


def ask(
    context: StageContext, field: str, prompts: Sequence[str], *, name: str, temperature: float, max_tokens: int
) -> list[str]:
    """One answer a prompt, by the model in this field of the config. Equal prompts are asked once; what is on the disk
    from a killed attempt is not asked again. Beginnings that prompts share are computed once where the server caches
    prefixes."""
    from reasoning_pipeline.rollouts.clients.completions import GenerationRequest

    kept = context.work / f"{name}.jsonl"
    answers: dict[str, str] = (
        {row["prompt"]: row["answer"] for row in read_rows(kept, torn=True)} if kept.is_file() else {}
    )
    kept.write_text(lines({"prompt": p, "answer": a} for p, a in answers.items()), encoding="utf-8")
    todo = [prompt for prompt in dict.fromkeys(prompts) if prompt not in answers]
    if todo:
        renderer = context.renderer(field)
        requests = [
            GenerationRequest(prompt_ids=renderer.prompt_ids(p), seed=seed_from(f"{context.seed}/{name}/{p}"))
            for p in todo
        ]
        with kept.open("a", encoding="utf-8") as file:

            def finished(index: int, group: list[Completion]) -> None:
                context.stop_if_asked()
                answers[todo[index]] = renderer.decode(group[0].token_ids)
                file.write(lines([{"prompt": todo[index], "answer": answers[todo[index]]}]))

            decoding = Decoding(temperature=temperature, max_tokens=max_tokens, seed=context.seed)
            context.sampler(field).generate(requests, decoding, stop_ids=renderer.stop_ids, on_result=finished)
    return [answers[prompt] for prompt in prompts]
