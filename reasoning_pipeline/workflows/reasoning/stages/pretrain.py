"""Makes a small base model where there is no hub: random Qwen3 weights, a tokenizer made here, and a little training.

For the arithmetic world the corpus is worked solutions: first clean ones until a greedy accuracy is reached, then
noisy ones, so that the model knows the format, half knows the arithmetic, and leaves reinforcement learning something
to find. For other worlds (`corpus: prompts`) it is next-token training on the data set's own text, or none at all
(`clean_steps: 0`), enough to drive every later stage on real prompts.
Try it: python -m reasoning_pipeline run recipes/smoke/pretrain.yaml
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from reasoning_pipeline.data import arithmetic
from reasoning_pipeline.data.arithmetic import DEFAULT, ArithmeticWorld, is_default
from reasoning_pipeline.data.tokenizer_making import (
    END,
    PAD,
    save_bpe_tokenizer,
    save_character_tokenizer,
    tokenizer_identity,
)
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.recipe.fields import Architecture
from reasoning_pipeline.recipe.stage import Reads, StageConfig

if TYPE_CHECKING:
    from transformers import Qwen3ForCausalLM

    from reasoning_pipeline.data.prompts import PromptRenderer
    from reasoning_pipeline.run.context import StageContext, StageOutcome
    from reasoning_pipeline.training.pretraining import Batch

CHECK_EVERY, CHECK_PROBLEMS = 25, 200


class Config(StageConfig):
    heavy: ClassVar[bool] = False

    stage: Literal["pretrain"] = "pretrain"
    architecture: Architecture = Architecture()
    """Of the model that is made."""
    corpus: Literal["arithmetic", "prompts"] = "arithmetic"
    """What it is trained on: worked problems of the arithmetic world, or only its questions."""
    world: ArithmeticWorld = Field(DEFAULT, exclude_if=is_default)
    """`corpus: arithmetic`: what its problems are made of; that of the recipe's data."""
    data: Annotated[str | None, Reads()] = None
    """Data set whose texts train tokenizer and model, where `corpus: prompts`."""
    vocabulary_size: int = Field(112, ge=64)
    """Characters for arithmetic (99, padded); a BPE vocabulary for `prompts`."""
    learning_rate: float = Field(3e-3, gt=0)
    """Of AdamW, at its peak."""
    batch: int = Field(32, ge=1)
    """Sequences of one optimizer step."""
    clean_steps: int = Field(1800, ge=0)
    """At most this many steps on clean solutions (arithmetic), or exactly this many on text."""
    stop_accuracy: float | None = Field(None, gt=0, le=1)
    """Ends the clean phase at this greedy accuracy on 200 validation problems; learning has a plateau and then a
    jump whose time depends on the seed, so a step count alone does not make comparable models."""
    noisy_steps: int = Field(0, ge=0)
    """Optimizer steps on solutions with mistakes, after the clean ones (arithmetic)."""
    save_every: int = Field(200, ge=1)
    """Optimizer steps between resume points."""

    def vocabulary(self) -> dict[str, object]:
        return {"corpus": self.corpus, "data": self.data, "vocabulary_size": self.vocabulary_size}

    def brings(self) -> dict[str, str]:
        return tokenizer_identity(characters=self.corpus == "arithmetic", world=self.world)


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes tokenizer and model after the noisy steps; a killed step continues from its last resume point."""
    import torch

    from reasoning_pipeline.training.pretraining import LINEAR_WARMUP_STEPS, finished, restore, save_point, update

    # Tokenizer and random weights, the same in every run of this seed; then the last resume point, if there is one.
    folder = context.fresh_output()
    renderer = _make_tokenizer(config, context, folder)
    model = _make_model(config, renderer)
    torch.manual_seed(_seed(config))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    done = _Done(**restore(context, model, optimizer))
    if done.steps:
        print(f"resuming after optimizer step {done.steps}")
    metrics = context.start_metrics(total_steps=config.clean_steps + config.noisy_steps, resumed_at=done.steps)

    def after_step(**row: float | None) -> None:
        metrics.write(done.steps, **row)
        if done.steps % config.save_every == 0 or context.should_stop():
            metrics.sync()
            save_point(context, done.steps, model, optimizer, asdict(done))
        context.stop_if_asked()

    # Clean solutions, or text, until the format and enough of the arithmetic are learned.
    clean = _batches(config, context, renderer, noisy=False, skip=done.clean)
    while done.clean < config.clean_steps and not done.clean_over:
        rate = config.learning_rate * min(1.0, (done.clean + 1) / LINEAR_WARMUP_STEPS)
        loss = update(model, optimizer, next(clean), rate)
        done.clean += 1
        found = None
        if config.stop_accuracy is not None and done.clean % CHECK_EVERY == 0:
            done.accuracy = found = greedy_accuracy(model, renderer, config.world)
            done.clean_over = found >= config.stop_accuracy
        after_step(loss=loss, learning_rate=rate, greedy_accuracy=found)

    # Solutions with mistakes, at a rate that falls to a tenth: what reinforcement learning is to mend.
    metrics.total_steps = done.clean + config.noisy_steps
    noisy = _batches(config, context, renderer, noisy=True, skip=done.noisy)
    while done.noisy < config.noisy_steps:
        share = (done.noisy + 1) / config.noisy_steps
        rate = config.learning_rate * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * share)))
        loss = update(model, optimizer, next(noisy), rate)
        done.noisy += 1
        after_step(loss=loss, learning_rate=rate)

    result: dict[str, Any] = {
        "steps": done.steps,
        "clean_steps": done.clean,
        "parameters": model.num_parameters(),
        "seconds": round(metrics.seconds, 2),
    }
    if config.stop_accuracy is not None:
        result["greedy_accuracy_at_stop"] = done.accuracy
        if done.accuracy is None or done.accuracy < config.stop_accuracy:
            raise PipelineError(
                f"the model reached a greedy accuracy of {done.accuracy or 0:.0%} in {config.clean_steps} steps, "
                f"not {config.stop_accuracy:.0%}",
                remedy="raise clean_steps, lower stop_accuracy, or try another seed",
            )
    return finished(context, folder, model, result)


@dataclass
class _Done:
    """How far training has come; saved with each resume point."""

    clean: int = 0
    """Steps taken on clean solutions."""
    noisy: int = 0
    accuracy: float | None = None
    clean_over: bool = False

    @property
    def steps(self) -> int:
        return self.clean + self.noisy


def _seed(config: Config) -> int:
    assert config.seed is not None
    # Teacher and student of one recipe seed must not see the same corpus.
    return config.seed * 1000 + config.architecture.hidden_size


def _make_tokenizer(config: Config, context: StageContext, folder: Path) -> PromptRenderer:
    from reasoning_pipeline.data.prompts import PromptRenderer

    if config.corpus == "arithmetic":
        save_character_tokenizer(folder, config.world)
    else:
        if not context.problems:
            raise PipelineError("corpus: prompts needs `data`", remedy="name a data set of the recipe")
        save_bpe_tokenizer(folder, (p.question for p in context.problems), config.vocabulary_size)
    return PromptRenderer.from_folder(folder, context.prompt)


def _make_model(config: Config, renderer: PromptRenderer) -> Qwen3ForCausalLM:
    import torch

    from reasoning_pipeline.training.pretraining import small_model

    tokens = renderer.tokenizer.get_vocab_size()
    if tokens > config.vocabulary_size:
        raise PipelineError(f"the tokenizer has {tokens} tokens, vocabulary_size is {config.vocabulary_size}")
    torch.manual_seed(_seed(config))
    return small_model(config.architecture, renderer, vocabulary=config.vocabulary_size, inner=3)


def _batches(
    config: Config, context: StageContext, renderer: PromptRenderer, *, noisy: bool, skip: int
) -> Iterator[Batch]:
    """Endless; without the first `skip`, which a resumed step has learned from already."""
    from reasoning_pipeline.training.pretraining import batches

    end, pad = renderer.tokenizer.token_to_id(END), renderer.tokenizer.token_to_id(PAD)

    def rows() -> Iterator[tuple[list[int], list[int]]]:
        if config.corpus == "arithmetic":
            for question, solution in arithmetic.corpus(_seed(config), noisy=noisy, world=config.world):
                answer = renderer.tokenizer.encode(solution, add_special_tokens=False).ids
                yield renderer.prompt_ids(question), [*answer, end]
        for problem in itertools.cycle(context.problems):
            ids = renderer.prompt_ids(problem)[: config.architecture.max_positions - 1]
            yield [], [*ids, end]

    return batches(rows(), config.batch, pad=pad, skip=skip)


def greedy_accuracy(model: Qwen3ForCausalLM, renderer: PromptRenderer, world: ArithmeticWorld) -> float:
    """Share of 200 validation problems answered exactly, decoding greedily."""
    import torch

    problems = arithmetic.problems("validation", CHECK_PROBLEMS, world=world)
    input_ids = torch.tensor([renderer.prompt_ids(problem) for problem in problems])
    model.eval()
    with torch.no_grad():
        generated: Any = model.generate(  # type: ignore[misc]
            input_ids, attention_mask=torch.ones_like(input_ids), max_new_tokens=32, do_sample=False
        )
    model.train()
    answers = [renderer.decode(row) for row in generated[:, input_ids.shape[1] :].tolist()]
    return sum(
        answer.endswith(f"\\boxed{{{problem.answer}}}") for answer, problem in zip(answers, problems, strict=True)
    ) / len(problems)
