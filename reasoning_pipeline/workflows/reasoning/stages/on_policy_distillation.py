"""Stage 2b: the student writes, the frozen teacher comments, token by token.

Loss: mean over completion tokens of KL(student || teacher) at every state the student visited (arXiv 2605.12483,
Eq. 4). Gradients reach the student's distribution, not its choice of states. No reward enters and no label is used.
What of the divergence is exact depends on where the hardware profile places the teacher, and is written into the
checkpoint's record:

    teacher: trainer   exact over the vocabulary; computed in tiles, so no [tokens, vocabulary] tensor exists
    teacher: server    with `teacher_top_k` K, over the teacher's K best words and one outcome for all others: a true
                       divergence and a lower bound of the exact one, exact with the whole vocabulary; its gradient is
                       its own, so differences among the other words teach nothing. With K = 0, log q - log p of the
                       sampled token: an unbiased, noisy estimate, with the policy gradient of the exact divergence
    teacher: cached    as `trainer`: the student's states cannot be known before it has visited them

With `max_staleness: 1` the states were visited by the student of one optimizer step before; the divergence at them is
today's. It needs no importance ratio, because no gradient flows through the sampling (K = 0 does, and is refused).
Try it: python -m reasoning_pipeline run recipes/smoke/on_policy_distillation.yaml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.recipe.fields import Optimization, SamplingWhileTraining
from reasoning_pipeline.recipe.stage import ModelRef, UsesPrompts
from reasoning_pipeline.recipe.work import Known, Work, optimizer_steps

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext, StageOutcome


class Config(UsesPrompts, Optimization, SamplingWhileTraining):
    generates_with: ClassVar[str | None] = "policy"

    title: ClassVar[str] = "Stage 2b"
    metric_titles: ClassVar[dict[str, str]] = {"kl": "KL(student ‖ teacher), nats per token"}
    followed: ClassVar[tuple[str, ...]] = ("kl", "top_k_overlap", "completion_tokens")

    stage: Literal["on_policy_distillation"] = "on_policy_distillation"
    policy: ModelRef
    """The student, which also writes the rollouts."""
    teacher: ModelRef
    """Frozen; comments on every token that the student wrote."""
    rollouts_per_step: int = Field(64, ge=1)
    """Rollouts in the global batch of one optimizer step."""
    rollouts_per_prompt: int = Field(1, ge=1)
    """How many of them share a prompt; must divide `rollouts_per_step`."""

    def work(self, known: Known) -> Work:
        return Work(
            rows=self.rollouts_per_step,
            steps=optimizer_steps(self, known.prompts, self.rollouts_per_step // self.rollouts_per_prompt),
            prompt_limit=self.max_prompt_tokens,
            completion_limit=self.max_completion_tokens,
            teacher="teacher",
            generates=True,
            ahead=self.max_staleness > 0,
            trains=True,
            save_every=self.save_every,
            batch="rollouts_per_step",
            lora=self.lora,
        )

    @model_validator(mode="after")
    def _whole_prompts(self) -> Self:
        if self.rollouts_per_step % self.rollouts_per_prompt:
            raise ValueError(
                f"rollouts_per_prompt: {self.rollouts_per_prompt} does not divide "
                f"rollouts_per_step ({self.rollouts_per_step})"
            )
        return self


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes the student as the last optimizer step leaves it."""
    from reasoning_pipeline.training.distillation import train_with_teacher

    return train_with_teacher(make_trainer(config, context), context)


def make_trainer(config: Config, context: StageContext) -> Any:
    """The questions in their order, the teacher, the divergence, and who writes."""
    from reasoning_pipeline.models.compatible import check_compatible
    from reasoning_pipeline.training.batches import answer_lengths, repeat_in_epochs, steps_for, within_length
    from reasoning_pipeline.training.distillation import distillation_trainer, server_teacher
    from reasoning_pipeline.training.generating import engine_for, problem_rows
    from reasoning_pipeline.training.trl_bridge.generating import generate_with

    check_compatible(context.inputs["policy"], context.inputs["teacher"], context.prompt)
    # One row a rollout, in the order in which the student is asked; a resumed step skips what it has learned from.
    renderer = context.renderer("policy")
    problems = within_length(context.problems, renderer, config.max_prompt_tokens)
    prompts_per_step = config.rollouts_per_step // config.rollouts_per_prompt
    steps = steps_for(config, len(problems), prompts_per_step)
    prompts = repeat_in_epochs(problems, steps * prompts_per_step, context.seed)
    asked = [problem for problem in prompts for _ in range(config.rollouts_per_prompt)]

    # The teacher's weights come into the trainer, unless a server scores each group while others are being written.
    teacher = server_teacher(context, config.temperature) if context.profile.teacher == "server" else None
    if teacher is not None and teacher.top_k == 0 and config.max_staleness:
        raise PipelineError(
            "teacher_top_k: 0 learns through the choice of the sampled tokens, which max_staleness: 1 leaves to an "
            "older student without correction",
            remedy="set teacher_top_k to 1 or more in the hardware profile, or max_staleness: 0 in the step",
        )

    # The plain distribution is sampled from, whatever the model's own files recommend.
    trainer = distillation_trainer(
        config,
        context,
        problem_rows(asked, renderer),
        lengths=answer_lengths(problems, renderer, config.max_completion_tokens),
        direction="reverse",
        teacher=teacher,
        steps=steps,
        own_rollouts=True,
        top_p=1.0,
        top_k=0,
        max_completion_length=config.max_completion_tokens,
    )

    # Before each batch the student's weights are pushed to the server that writes it.
    engine = engine_for(
        trainer,
        config,
        context,
        renderer,
        problems=asked,
        copies=1,
        rollouts_per_step=config.rollouts_per_step,
        on_group=None if teacher is None else teacher.begin,
    )
    return generate_with(trainer, engine, renderer)
