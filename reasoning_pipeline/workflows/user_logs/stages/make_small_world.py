"""Makes the language model of the small world: random Qwen3 weights, a tokenizer of whole words, generic skills.

It learns to answer plainly, to answer with a remark in mind, and to revise a draft by given rules, by next-token
training on made-up lessons (small_world.py). What the users of a kind wish is in none of them, and it never advises:
that is left to experts and critics. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/make_small_world.yaml
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from reasoning_pipeline.base.fingerprint import digest
from reasoning_pipeline.data.tokenizer_making import PAD, save_word_tokenizer
from reasoning_pipeline.recipe.fields import Architecture
from reasoning_pipeline.recipe.stage import StageConfig
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.run.speaking import completion_ids
from reasoning_pipeline.workflows.user_logs import prompts, small_world


class Config(StageConfig):
    heavy: ClassVar[bool] = False

    stage: Literal["make_small_world"] = "make_small_world"
    architecture: Architecture = Architecture()
    """Of the model."""
    learning_rate: float = Field(3e-3, gt=0)
    """At its highest."""
    batch: int = Field(64, ge=1)
    """Lessons of one optimizer step."""
    steps: int = Field(1500, ge=1)
    """Optimizer steps."""
    save_every: int = Field(200, ge=1)
    """Optimizer steps between resume points."""

    def brings(self) -> dict[str, str]:
        return {"tokenizer": digest(list(small_world.VOCABULARY)), "prompts": digest(prompts.SMALL)}

    def vocabulary(self) -> dict[str, object]:
        return {"words": digest(list(small_world.VOCABULARY))}


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes tokenizer and model; a killed step continues from its last resume point."""
    import torch

    from reasoning_pipeline.data.prompts import PromptRenderer
    from reasoning_pipeline.training import pretraining

    folder = context.fresh_output()
    size = save_word_tokenizer(folder, small_world.VOCABULARY)
    renderer = PromptRenderer.from_folder(folder, context.prompt)
    pad = renderer.tokenizer.token_to_id(PAD)
    torch.manual_seed(context.seed)
    model = pretraining.small_model(config.architecture, renderer, vocabulary=size, inner=2)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    done: int = pretraining.restore(context, model, optimizer).get("steps", 0)
    metrics = context.start_metrics(total_steps=config.steps, resumed_at=done)

    def lessons() -> Iterator[tuple[list[int], list[int]]]:
        rng = random.Random(f"lessons/{context.seed}")
        for prompt, answer in (small_world.lesson(rng) for _ in itertools.count()):
            yield renderer.prompt_ids(prompt), completion_ids(renderer, answer)

    source = pretraining.batches(lessons(), config.batch, pad=pad, skip=done)
    while done < config.steps:
        rate = config.learning_rate * min(
            1.0, (done + 1) / pretraining.LINEAR_WARMUP_STEPS, max(0.05, 1.5 * (1 - done / config.steps))
        )
        loss = pretraining.update(model, optimizer, next(source), rate)
        done += 1
        metrics.write(done, loss=loss, learning_rate=rate)
        if done % config.save_every == 0 or context.should_stop():
            metrics.sync()
            pretraining.save_point(context, done, model, optimizer, {"steps": done})
        context.stop_if_asked()
    metrics.close()
    result = {
        "steps": done,
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(metrics.seconds, 2),
    }
    return pretraining.finished(context, folder, model, result)
