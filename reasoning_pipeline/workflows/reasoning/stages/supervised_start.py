"""A supervised start: the policy learns worked solutions, so that it answers in the form that a reward can judge.

A pretrained model may know the answer and never box it; a reward for boxed answers is then zero throughout. Loss: mean
over the solution's tokens, with the end token behind them, of the negative log-likelihood. The solutions are a column
of the pools' rows, so their labels are spent. It also heals a model that lost layers (`cut_layers`).
Try it: python -m reasoning_pipeline run recipes/smoke/supervised_start.yaml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.recipe.fields import Optimization
from reasoning_pipeline.recipe.stage import ModelRef, SpendsLabels, StageConfig
from reasoning_pipeline.recipe.work import Known, Work, optimizer_steps

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext, StageOutcome


class Config(SpendsLabels, StageConfig, Optimization):
    stage: Literal["supervised_start"] = "supervised_start"
    policy: ModelRef
    """What learns."""
    solutions: str = "solution"
    """Column of the worked solutions. Rows from files bring it with `keep`; the worlds made here have it already."""
    rows_per_step: int = Field(32, ge=1)
    """The global batch of one optimizer step."""
    max_prompt_tokens: int = Field(2048, ge=1)
    """Problems with longer prompts are set aside and counted."""
    max_completion_tokens: int = Field(2048, ge=1)
    """Problems with longer solutions are refused: a solution that is cut teaches to stop in the middle."""

    def work(self, known: Known) -> Work:
        return Work(
            rows=self.rows_per_step,
            steps=optimizer_steps(self, known.labels, self.rows_per_step),
            prompt_limit=self.max_prompt_tokens,
            completion_limit=self.max_completion_tokens,
            trains=True,
            batch="rows_per_step",
            lora=self.lora,
        )


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes the policy after the last step."""
    from reasoning_pipeline.training.loop import train

    return train(make_trainer(config, context), context)


def make_trainer(config: Config, context: StageContext) -> Any:
    """Question and solution of each problem, as the policy reads and would write them."""
    from reasoning_pipeline.training.batches import steps_for, within_length
    from reasoning_pipeline.training.supervised import sft_trainer

    renderer = context.renderer("policy")
    # What the chat template closes an answer with; a template without such a token leaves the declared end.
    behind = renderer.token_behind_an_answer()
    end = renderer.stop_ids[0] if behind is None else behind
    pairs, lengths = [], []
    for problem in within_length(context.problems, renderer, config.max_prompt_tokens):
        solution = problem.meta.get(config.solutions)
        if not isinstance(solution, str) or not solution.strip():
            raise PipelineError(
                f"{problem.id}: no text in the column {config.solutions!r} (found {solution!r})",
                remedy="name the column of worked solutions in `solutions`, and keep it: `data.NAME.keep`",
            )
        prompt = renderer.prompt_ids(problem)
        answer = [*renderer.tokenizer.encode(solution, add_special_tokens=False).ids, end]
        if len(answer) > config.max_completion_tokens:
            raise PipelineError(
                f"{problem.id}: the solution has {len(answer):,} tokens, max_completion_tokens is "
                f"{config.max_completion_tokens:,}",
                remedy=f"raise max_completion_tokens to {len(answer)} or more, or leave the problem out",
            )
        pairs.append((prompt, answer))
        lengths.append((problem.id, len(prompt) + len(answer)))
    steps = steps_for(config, len(pairs), config.rows_per_step)
    return sft_trainer(config, context, pairs, lengths=lengths, rows_per_step=config.rows_per_step, steps=steps)
