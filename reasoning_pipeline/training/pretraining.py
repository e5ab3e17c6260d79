"""Behind the `pretrain` stage: random Qwen3 weights, then a little next-token training. Plain PyTorch."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy

from reasoning_pipeline.data import arithmetic
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.data.tokenizer_making import END, PAD, save_bpe_tokenizer, save_character_tokenizer
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.training.resume import complete, last_complete

if TYPE_CHECKING:
    from transformers import Qwen3ForCausalLM

    from reasoning_pipeline.run.context import StageContext, StageOutcome
    from reasoning_pipeline.workflows.reasoning.stages.pretrain import Config

IGNORED = -100
CHECK_EVERY = 25
CHECK_PROBLEMS = 200
LINEAR_WARMUP_STEPS = 40
ROUND_VOCABULARY_TO = 16

Batch = tuple[torch.Tensor, torch.Tensor]
"""(input ids, labels), both [B, L]; labels hold IGNORED where nothing is learned."""


@dataclass
class _Progress:
    """How far training has come; saved with each resume point."""

    clean: int = 0
    """Steps taken on clean solutions."""
    noisy: int = 0
    accuracy: float | None = None
    clean_over: bool = False

    @property
    def steps(self) -> int:
        return self.clean + self.noisy


def pretrain(config: Config, context: StageContext) -> StageOutcome:
    """Make the base model; a killed step continues from its last resume point."""
    folder = context.fresh_output()
    renderer = _make_tokenizer(config, context, folder)
    model = _make_model(config, renderer)
    torch.manual_seed(_seed(config))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    progress = _restore(context, model, optimizer)
    metrics = context.start_metrics(total_steps=config.clean_steps + config.noisy_steps, resumed_at=progress.steps)

    def after_step(row: dict[str, float | None]) -> None:
        metrics.write(progress.steps, **row)
        if progress.steps % config.save_every == 0 or context.should_stop():
            metrics.sync()
            _save_resume_point(context, model, optimizer, progress)
        context.stop_if_asked()

    clean = _batches(config, context, renderer, noisy=False, skip=progress.clean)
    while progress.clean < config.clean_steps and not progress.clean_over:
        rate = config.learning_rate * min(1.0, (progress.clean + 1) / LINEAR_WARMUP_STEPS)
        loss = _update(model, optimizer, next(clean), rate)
        progress.clean += 1
        check = config.stop_accuracy is not None and progress.clean % CHECK_EVERY == 0
        if check and config.stop_accuracy is not None:
            progress.accuracy = _greedy_accuracy(model, renderer)
            progress.clean_over = progress.accuracy >= config.stop_accuracy
        after_step({"loss": loss, "learning_rate": rate, "greedy_accuracy": progress.accuracy if check else None})
    metrics.total_steps = progress.clean + config.noisy_steps
    noisy = _batches(config, context, renderer, noisy=True, skip=progress.noisy)
    while progress.noisy < config.noisy_steps:
        done = (progress.noisy + 1) / config.noisy_steps
        rate = config.learning_rate * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done)))
        loss = _update(model, optimizer, next(noisy), rate)
        progress.noisy += 1
        after_step({"loss": loss, "learning_rate": rate})
    model.save_pretrained(folder)
    result: dict[str, Any] = {
        "steps": progress.steps,
        "clean_steps": progress.clean,
        "parameters": model.num_parameters(),
        "seconds": round(metrics.seconds, 2),
    }
    if config.stop_accuracy is not None:
        result["greedy_accuracy_at_stop"] = progress.accuracy
        if progress.accuracy is None or progress.accuracy < config.stop_accuracy:
            raise PipelineError(
                f"the model reached a greedy accuracy of {progress.accuracy or 0:.0%} in {config.clean_steps} steps, "
                f"not {config.stop_accuracy:.0%}",
                remedy="raise clean_steps, lower stop_accuracy, or try another seed",
            )
    return context.finished(folder, model, result)


def _save_resume_point(
    context: StageContext, model: Qwen3ForCausalLM, optimizer: torch.optim.Optimizer, progress: _Progress
) -> None:
    point = context.work / "checkpoints" / f"checkpoint-{progress.steps}"
    shutil.rmtree(point, ignore_errors=True)
    point.mkdir(parents=True)
    # No random state: initialisation alone draws from it, and the corpus is skipped forward.
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "progress": asdict(progress)}
    torch.save(state, point / "state.pt")
    complete(point)


def _restore(context: StageContext, model: Qwen3ForCausalLM, optimizer: torch.optim.Optimizer) -> _Progress:
    point = last_complete(context.work / "checkpoints")
    if point is None:
        return _Progress()
    state = torch.load(point / "state.pt", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    progress = _Progress(**state["progress"])
    print(f"resuming after optimizer step {progress.steps}")
    return progress


def _seed(config: Config) -> int:
    assert config.seed is not None
    # Teacher and student of one recipe seed must not see the same corpus.
    return config.seed * 1000 + config.architecture.hidden_size


def _make_tokenizer(config: Config, context: StageContext, folder: Path) -> PromptRenderer:
    if config.corpus == "arithmetic":
        save_character_tokenizer(folder)
    else:
        if not context.problems:
            raise PipelineError("corpus: prompts needs `data`", remedy="name a data set of the recipe")
        save_bpe_tokenizer(folder, (p.question for p in context.problems), config.vocabulary_size)
    return PromptRenderer.from_folder(folder, context.prompt)


def _make_model(config: Config, renderer: PromptRenderer) -> Qwen3ForCausalLM:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    size = config.architecture
    tokens = renderer.tokenizer.get_vocab_size()
    if tokens > config.vocabulary_size:
        raise PipelineError(f"the tokenizer has {tokens} tokens, vocabulary_size is {config.vocabulary_size}")
    torch.manual_seed(_seed(config))
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=math.ceil(config.vocabulary_size / ROUND_VOCABULARY_TO) * ROUND_VOCABULARY_TO,
            hidden_size=size.hidden_size,
            intermediate_size=3 * size.hidden_size,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            num_key_value_heads=size.heads,
            head_dim=size.head_dim,
            max_position_embeddings=size.max_positions,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=renderer.tokenizer.token_to_id(END),
            pad_token_id=renderer.tokenizer.token_to_id(PAD),
        )
    )


def _update(model: Qwen3ForCausalLM, optimizer: torch.optim.Optimizer, batch: Batch, rate: float) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate
    input_ids, labels = batch
    logits = model(input_ids=input_ids).logits[:, :-1]
    loss = cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def _batches(
    config: Config, context: StageContext, renderer: PromptRenderer, *, noisy: bool, skip: int
) -> Iterator[Batch]:
    """Endless; without the first `skip` batches, which a resumed step has learned from already."""
    end, pad = renderer.tokenizer.token_to_id(END), renderer.tokenizer.token_to_id(PAD)

    def rows() -> Iterator[tuple[list[int], list[int]]]:
        if config.corpus == "arithmetic":
            for question, solution in arithmetic.corpus(_seed(config), noisy=noisy):
                prompt = renderer.prompt_ids(question)
                answer = [*renderer.tokenizer.encode(solution, add_special_tokens=False).ids, end]
                yield prompt, answer
        for problem in itertools.cycle(context.problems):
            ids = renderer.prompt_ids(problem.question)[: config.architecture.max_positions - 1]
            yield [], [*ids, end]

    source = itertools.islice(rows(), skip * config.batch, None)
    while True:
        batch = list(itertools.islice(source, config.batch))
        length = max(len(prompt) + len(answer) for prompt, answer in batch)
        input_ids = torch.full((len(batch), length), pad)
        labels = torch.full((len(batch), length), IGNORED)
        for row, (prompt, answer) in enumerate(batch):
            input_ids[row, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
            labels[row, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
        yield input_ids, labels


@torch.no_grad()
def _greedy_accuracy(model: Qwen3ForCausalLM, renderer: PromptRenderer) -> float:
    """Share of 200 validation problems answered exactly, decoding greedily."""
    problems = arithmetic.problems("validation", CHECK_PROBLEMS)
    input_ids = torch.tensor([renderer.prompt_ids(problem.question) for problem in problems])
    model.eval()
    generated: Any = model.generate(  # type: ignore[misc]
        input_ids, attention_mask=torch.ones_like(input_ids), max_new_tokens=32, do_sample=False
    )
    model.train()
    answers = [renderer.decode(row) for row in generated[:, input_ids.shape[1] :].tolist()]
    return sum(
        answer.endswith(f"\\boxed{{{problem.answer}}}") for answer, problem in zip(answers, problems, strict=True)
    ) / len(problems)
