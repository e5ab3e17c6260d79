"""Stages 1 and 3: group-relative policy optimisation against the verified 0/1 reward, by TRL's trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reasoning_pipeline.models.loading import load_tokenizer
from reasoning_pipeline.rewards.judge import RewardJudge
from reasoning_pipeline.rollouts.clients.completions import Completion
from reasoning_pipeline.training.arguments import batch_arguments, common_arguments, pass_limit
from reasoning_pipeline.training.batches import answer_lengths, repeat_in_epochs, steps_for, within_length
from reasoning_pipeline.training.generating import engine_for, problem_rows
from reasoning_pipeline.training.lora import adapters
from reasoning_pipeline.training.sharding import load_for_training
from reasoning_pipeline.training.trl_bridge.generating import generate_with
from reasoning_pipeline.training.trl_bridge.policy import GRPOConfig, PolicyTrainer
from reasoning_pipeline.workflows.reasoning.reward import VerifiedReward, usable_references

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext
    from reasoning_pipeline.workflows.reasoning.fields import GroupRelative


def grpo_trainer(config: GroupRelative, context: StageContext) -> PolicyTrainer:
    """A trainer on the policy; groups are judged as they finish."""
    from datasets import Dataset

    renderer = context.renderer("policy")
    judge = RewardJudge(config.reward, config.reward_files)
    problems = within_length(usable_references(context.problems, judge), renderer, config.max_prompt_tokens)
    steps = steps_for(config, len(problems), config.problems_per_step)
    rollouts_per_step = config.problems_per_step * config.group_size
    limit = pass_limit(context, answer_lengths(problems, renderer, config.max_completion_tokens))
    arguments = GRPOConfig(
        **common_arguments(config, context, steps),
        **batch_arguments(rollouts_per_step, context, what="problems_per_step x group_size", whole=config.whole()),
        num_generations=config.group_size,
        max_completion_length=config.max_completion_tokens,
        temperature=config.temperature,
        top_p=1.0,
        top_k=0,
        beta=config.kl_coefficient,
        # The penalty's estimator is multiplied by the policy's ratio. With one update a batch its value is 1, and its
        # gradient makes that of the penalty the one of KL(policy || start); without it, it is that of another
        # divergence (arXiv 2512.02556; readable/grpo.py, start_penalty).
        use_bias_correction_kl=True,
        epsilon=config.clip_ratio,
        loss_type=config.loss,
        scale_rewards=config.scale_advantages,
        # Also the off-policy correction where max_staleness is 1: pi_now / pi_writer per token, cut at 2. Without a
        # server the trainer's own weights write, and a forward pass that finds a ratio of one is saved.
        vllm_importance_sampling_correction=config.correct_sampler_mismatch and context.client is not None,
        vllm_importance_sampling_mode="token_truncate",
        vllm_importance_sampling_clip_max=2.0,
        shuffle_dataset=False,
    )
    ordered = repeat_in_epochs(problems, steps * config.problems_per_step, context.seed)
    reward = VerifiedReward(
        group_size=config.group_size,
        stop_ids=renderer.stop_ids,
        judge=judge,
        problems=problems,
        overlong=(config.max_completion_tokens, config.overlong_buffer) if config.overlong_buffer else None,
    )
    tokenizer = load_tokenizer(context.inputs["policy"])
    trainer = PolicyTrainer(
        model=load_for_training(context.inputs["policy"]),
        args=arguments,
        train_dataset=Dataset.from_list(problem_rows(ordered, renderer)),
        reward_funcs=reward,
        processing_class=tokenizer,
        peft_config=adapters(config),
    )
    trainer.companions, trainer.limit = [reward], limit
    asked_by = {tuple(renderer.prompt_ids(problem)): problem for problem in problems}

    def decode(completion_ids: list[list[int]]) -> list[str]:
        texts: Any = tokenizer.batch_decode(completion_ids, skip_special_tokens=True)
        return list(texts)

    def judge_group(prompt_ids: list[int], group: list[Completion]) -> None:
        reward.begin(asked_by[tuple(prompt_ids)], [completion.token_ids for completion in group], decode)

    engine = engine_for(
        trainer,
        config,
        context,
        renderer,
        problems=ordered,
        copies=config.group_size,
        rollouts_per_step=rollouts_per_step,
        on_group=judge_group,
    )
    return generate_with(trainer, engine, renderer)
