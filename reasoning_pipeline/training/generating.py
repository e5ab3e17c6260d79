"""The engine that a generating trainer is given: whose weights write, from which prompts, and who hears of a group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.models.loading import pad_id
from reasoning_pipeline.records import Decoding, Problem
from reasoning_pipeline.rollouts.engine import GroupListener, TrainerEngine
from reasoning_pipeline.rollouts.transformers_sampler import TransformersSampler
from reasoning_pipeline.rollouts.weights.push import WeightPush
from reasoning_pipeline.training.batches import PromptsByStep

if TYPE_CHECKING:
    from reasoning_pipeline.recipe.fields import SamplingWhileTraining
    from reasoning_pipeline.run.context import StageContext


def problem_rows(problems: list[Problem], renderer: PromptRenderer) -> list[dict[str, str]]:
    """One row a problem, in training order: resuming then only needs to skip."""
    rendered = {problem.id: renderer.prompt(problem) for problem in problems}
    return [
        {"prompt": rendered[p.id], "answer": p.answer, "question": p.question, "problem_id": p.id} for p in problems
    ]


def engine_for(
    trainer: Any,
    sampling: SamplingWhileTraining,
    context: StageContext,
    renderer: PromptRenderer,
    *,
    problems: list[Problem],
    copies: int,
    rollouts_per_step: int,
    on_group: GroupListener | None = None,
) -> TrainerEngine:
    """A server's client with its weight pushes, or transformers on the trainer's own model.

    Args:
        problems: One for each row of the trainer's data set, in training order.
        copies: How often the trainer repeats each row's prompt.
    """
    if context.client is not None:
        sampler: Any = context.client
        server = context.profile.server
        push = WeightPush(
            context.client,
            trainer.accelerator,
            context.transfer_folder,
            context.profile.precision,
            transport=server.transport,
            sleep=server.sleep,
        )
    else:
        sampler, push = TransformersSampler(trainer.model, pad_id=pad_id(context.inputs["policy"])), None
    prompt_ids = {problem.id: renderer.prompt_ids(problem) for problem in problems}
    return TrainerEngine(
        sampler,
        push,
        decoding=Decoding(
            temperature=sampling.temperature, max_tokens=sampling.max_completion_tokens, seed=context.seed
        ),
        stop_ids=renderer.stop_ids,
        label=context.label,
        # A server that sleeps while the optimizer works cannot write ahead; less staleness is always allowed.
        max_staleness=0 if context.profile.server.sleep else sampling.max_staleness,
        prompts_at=PromptsByStep(
            [prompt_ids[problem.id] for problem in problems],
            copies=copies,
            rollouts_per_step=rollouts_per_step,
            process=trainer.accelerator.process_index,
            processes=trainer.accelerator.num_processes,
        ),
        on_group=on_group,
    )
