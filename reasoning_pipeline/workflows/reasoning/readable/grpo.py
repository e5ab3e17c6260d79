"""GRPO from top to bottom in plain torch: what Stages 1 and 3 compute, without trainer, server or accelerator.

Read it aloud, from the world of problems to the last training step; then distillation.py, which goes on from here. The
tests hold the stages `sparse_grpo` and `extra_rl` against the functions below (loss, gradients, weights after a step):
this is what they mean, and what they add is speed, larger models and the ability to be interrupted.

`python -m reasoning_pipeline.workflows.reasoning.readable.grpo` trains a model of 0.25 M parameters on a CPU, in about
a minute, and prints its accuracy before and after.

Names end in their dimensions: B rollouts of the batch, P problems, G rollouts of one, T completion tokens (those of the
longest completion; the mask says which are there), L tokens of prompt and completion, V words of the vocabulary.
Log-probabilities are natural logarithms, divergences are in nats.

Papers: GRPO arXiv 2402.03300, PPO 1707.06347, DAPO 2503.14476, Dr. GRPO 2503.20783, BNPO 2506.02864, AdamW 1711.05101.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from reasoning_pipeline.data import arithmetic
from reasoning_pipeline.data.tokenizer_making import CHARACTERS, END, PAD, START
from reasoning_pipeline.records import Problem

# 1. The world. A problem is `3+5*2-1*4`, worked from left to right modulo 10; a good answer is `8;6;5;0;\boxed{0}`.

ID_OF = {character: number for number, character in enumerate(CHARACTERS)}
PAD_ID, END_ID = ID_OF[PAD], ID_OF[END]
MAX_COMPLETION_TOKENS = 24
Normalisation = Literal["dapo", "grpo", "dr_grpo", "bnpo"]


def prompt_ids(question: str) -> list[int]:
    """One token a character, padded by spaces, so that all prompts are equally long: 15 tokens."""
    text = question.ljust(arithmetic.LONGEST_EXPRESSION) + "\n"
    return [ID_OF[START], *(ID_OF[character] for character in text)]


def completion_ids(text: str) -> list[int]:
    return [*(ID_OF[character] for character in text), END_ID]


def reward(problem: Problem, completion: Sequence[int]) -> float:
    """1 where the last box holds the right answer, else 0. Nothing in between, nothing for the way there: sparse."""
    boxes = re.findall(r"\\boxed\{(.*?)\}", "".join(CHARACTERS[number] for number in completion))
    return float(boxes[-1:] == [problem.answer])


# 2. The model. The one thing that is not written out here: a Qwen3 of two layers, with random weights.


def make_model(hidden_size: int, seed: int) -> Any:
    """ids_BL -> logits_BLV; the logits at a position are about the token after it."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    heads = hidden_size // 32
    return Qwen3ForCausalLM(Qwen3Config(
        vocab_size=len(CHARACTERS), hidden_size=hidden_size, intermediate_size=3 * hidden_size, num_hidden_layers=2,
        num_attention_heads=heads, num_key_value_heads=heads, head_dim=32, tie_word_embeddings=True,
    ))  # fmt: skip


# 3. Rollouts: the policy writes, and remembers how likely each of its tokens was.


class Rollout(NamedTuple):
    """One completion of one prompt; it ends with END_ID, unless it was cut off."""

    prompt_ids: list[int]
    completion_ids: list[int]
    logprobs: list[float]
    """Of each completion token, when it was drawn, by whoever drew it; at most 0."""


@torch.no_grad()
def sample(policy: Any, prompts: list[list[int]], temperature: float = 1.0) -> list[Rollout]:
    """One rollout of each prompt, token by token, from softmax(logits / temperature). Prompts are equally long."""
    next_BL, cache, drawn, logprobs = torch.tensor(prompts), None, [], []
    for _ in range(MAX_COMPLETION_TOKENS):
        output = policy(input_ids=next_BL, past_key_values=cache, use_cache=True)
        logprobs_BV = (output.logits[:, -1] / temperature).log_softmax(-1)
        next_BL, cache = torch.multinomial(logprobs_BV.exp(), 1), output.past_key_values
        drawn.append(next_BL)
        logprobs.append(logprobs_BV.gather(-1, next_BL))
    rollouts = []
    for prompt, ids, values in zip(prompts, torch.cat(drawn, 1).tolist(), torch.cat(logprobs, 1).tolist(), strict=True):
        length = ids.index(END_ID) + 1 if END_ID in ids else len(ids)  # what was drawn behind END is thrown away
        rollouts.append(Rollout(prompt, ids[:length], values[:length]))
    return rollouts


def completion_logits(model: Any, rollouts: Sequence[Rollout]) -> Tensor:
    """logits_BTV: what the model expected in the place of each completion token.

    Rows are padded on the right. Attention looks to the left only, so no real token ever sees the padding.
    """
    rows = [torch.tensor(rollout.prompt_ids + rollout.completion_ids) for rollout in rollouts]
    logits_BLV = model(input_ids=pad_sequence(rows, batch_first=True, padding_value=PAD_ID)).logits
    # The last token of the prompt predicts the first of the completion; what the last of all predicts is not needed.
    parts = [
        logits_LV[len(rollout.prompt_ids) - 1 :][: len(rollout.completion_ids)]
        for logits_LV, rollout in zip(logits_BLV, rollouts, strict=True)
    ]
    return pad_sequence(parts, batch_first=True)


def completion_mask(rollouts: Sequence[Rollout]) -> Tensor:
    """mask_BT: 1 where a completion has a token (its END included), 0 behind it."""
    return pad_sequence([torch.ones(len(rollout.completion_ids)) for rollout in rollouts], batch_first=True)


def completion_logprobs(model: Any, rollouts: Sequence[Rollout], temperature: float = 1.0) -> Tensor:
    """logprobs_BT of the tokens that stand there, under softmax(logits / temperature). Padding holds a number, too."""
    ids_BT = pad_sequence([torch.tensor(rollout.completion_ids) for rollout in rollouts], batch_first=True)
    logprobs_BTV = (completion_logits(model, rollouts) / temperature).log_softmax(-1)
    return logprobs_BTV.gather(-1, ids_BT.unsqueeze(-1)).squeeze(-1)


# 4. Advantages: was this rollout better than its siblings?


def advantages(rewards_B: Tensor, group_size: int, scale: Literal["group", "batch", "none"] = "group") -> Tensor:
    """advantages_B = (reward - mean of its group) / (standard deviation + 1e-4); GRPO, section 4.1.2.

    Positive for better than average. The mean replaces PPO's learned value function. A group whose rewards are all
    equal has advantage 0 throughout: it teaches nothing. Siblings stand next to each other in the batch.

    `group` divides by the group's standard deviation (with G - 1 below), `batch` by that of all rewards in the batch,
    `none` by nothing: dividing favours problems that are nearly always or nearly never solved (Dr. GRPO).
    """
    rewards_PG = rewards_B.view(-1, group_size)
    spreads = {"group": rewards_PG.std(1, keepdim=True) + 1e-4, "batch": rewards_B.std() + 1e-4, "none": torch.ones(1)}
    return ((rewards_PG - rewards_PG.mean(1, keepdim=True)) / spreads[scale]).view(-1)


# 5. The loss: what to make small. First of a token, then of the batch.


def surrogate(logprobs_BT: Tensor, old_logprobs_BT: Tensor, advantages_B: Tensor, clip_ratio: float) -> Tensor:
    """losses_BT = -min(ratio A, clip(ratio, 1 - eps, 1 + eps) A), ratio = policy / old policy; PPO Eq. 7, GRPO Eq. 3.

    A token that has become 1 + eps times as likely as when it was drawn (1 - eps, where A < 0) is left alone. With one
    optimizer step a batch, old and present policy are one: ratio 1, no clipping, gradient -A grad log policy.
    """
    ratio_BT, advantages_B1 = (logprobs_BT - old_logprobs_BT).exp(), advantages_B.unsqueeze(1)
    clipped_BT = ratio_BT.clamp(1 - clip_ratio, 1 + clip_ratio)
    return -torch.minimum(ratio_BT * advantages_B1, clipped_BT * advantages_B1)


def sampler_weights(policy_logprobs_BT: Tensor, sampler_logprobs_BT: Tensor) -> Tensor:
    """weights_BT = min(policy / sampler, 2): truncated importance weights (Ionides 2008), numbers without gradient.

    The tokens should have been drawn by the policy as it is now. Where another drew them (an engine that rounds
    otherwise, a policy one step older) each is weighted by how much likelier it is here; cut off above, since a few
    huge weights would drown the rest. 1 where both agree.
    """
    return (policy_logprobs_BT.detach() - sampler_logprobs_BT).exp().clamp(max=2.0)


def start_penalty(logprobs_BT: Tensor, old_logprobs_BT: Tensor, start_logprobs_BT: Tensor) -> Tensor:
    """penalty_BT = ratio (start / policy - 1 - log(start / policy)), GRPO Eq. 4: KL(policy || start) from one token.

    Never negative, 0 where they agree. The ratio, as above, is 1 and still matters (arXiv 2512.02556): through it the
    gradient is log(policy / start) grad log policy, on average that of the divergence; without it, that of another.
    """
    log_start_BT = start_logprobs_BT - logprobs_BT
    return (logprobs_BT - old_logprobs_BT).exp() * (log_start_BT.exp() - 1 - log_start_BT)


def over_batch(losses_BT: Tensor, mask_BT: Tensor, loss: Normalisation, max_completion_tokens: int) -> Tensor:
    """One number. The four ways differ in what a long completion counts.

    dapo:    sum over all tokens / number of tokens in the batch: each token counts alike (DAPO, token-level loss)
    bnpo:    the same within each forward pass, then the mean over passes (here there is one): depends on the split
    grpo:    mean over the tokens of each completion, then over completions: a token of a long one counts less (Eq. 3)
    dr_grpo: sum over all tokens / (B x the most tokens a completion may have): a constant, whatever was written
    """
    masked_BT = losses_BT * mask_BT
    if loss == "grpo":
        return (masked_BT.sum(1) / mask_BT.sum(1)).mean()
    if loss == "dr_grpo":
        return masked_BT.sum() / (len(masked_BT) * max_completion_tokens)
    return masked_BT.sum() / mask_BT.sum()


def grpo_loss(
    policy: Any, rollouts: Sequence[Rollout], advantages_B: Tensor, *, loss: Normalisation = "dapo",
    clip_ratio: float = 0.2, kl_coefficient: float = 0.0, correct_sampler_mismatch: bool = False,
    temperature: float = 1.0, max_completion_tokens: int = MAX_COMPLETION_TOKENS,
    start: Any = None, old_logprobs_BT: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """All of it; the options are the stages' own, by the same names. `temperature` is that of sampling."""
    logprobs_BT = completion_logprobs(policy, rollouts, temperature)
    old_BT = logprobs_BT.detach() if old_logprobs_BT is None else old_logprobs_BT
    losses_BT = surrogate(logprobs_BT, old_BT, advantages_B, clip_ratio)
    if correct_sampler_mismatch:
        drawn_BT = pad_sequence([torch.tensor(rollout.logprobs) for rollout in rollouts], batch_first=True)
        losses_BT = losses_BT * sampler_weights(logprobs_BT, drawn_BT)
    if kl_coefficient:
        with torch.no_grad():
            start_logprobs_BT = completion_logprobs(start, rollouts, temperature)
        losses_BT = losses_BT + kl_coefficient * start_penalty(logprobs_BT, old_BT, start_logprobs_BT)
    return over_batch(losses_BT, completion_mask(rollouts), loss, max_completion_tokens)


# 6. The optimizer.


class AdamW:
    """AdamW, Algorithm 2, after the gradient has been shortened to a norm of at most `max_norm`."""

    def __init__(self, model: Any, *, betas: tuple[float, float] = (0.9, 0.99), decay: float = 0.0) -> None:
        self.parameters = list(model.parameters())
        self.means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.betas, self.decay, self.steps = betas, decay, 0

    @torch.no_grad()
    def step(self, loss: Tensor, learning_rate: float, max_norm: float = 1.0) -> float:
        """Returns the norm that the gradient had."""
        gradients = torch.autograd.grad(loss, self.parameters)
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        shorter = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        self.steps += 1
        beta1, beta2 = self.betas
        for parameter, gradient, mean, square in zip(self.parameters, gradients, self.means, self.squares, strict=True):
            mean.lerp_(gradient * shorter, 1 - beta1)  # mean = beta1 mean + (1 - beta1) gradient
            square.lerp_((gradient * shorter) ** 2, 1 - beta2)
            if parameter.ndim > 1:  # matrices shrink; the norms' scales do not
                parameter.mul_(1 - learning_rate * self.decay)
            # Both averages began at zero; the corrections undo what that took from them.
            mean_now, square_now = mean / (1 - beta1**self.steps), square / (1 - beta2**self.steps)
            parameter.sub_(learning_rate * mean_now / (square_now.sqrt() + 1e-8))
        return float(norm)


# 7. Training.


def accuracy(policy: Any, problems: list[Problem]) -> float:
    """Share of the problems that one rollout each, at temperature 1, solves."""
    rollouts = sample(policy, [prompt_ids(problem.question) for problem in problems])
    return sum(reward(p, r.completion_ids) for p, r in zip(problems, rollouts, strict=True)) / len(problems)


def pretrain(model: Any, *, until: float, noisy_steps: int = 0, learning_rate: float = 2e-3, seed: int = 0) -> None:
    """Supervised learning on worked solutions, until the model solves this share of problems it has not seen; then some
    steps on solutions with mistakes in them, so that it knows the form and doubts the arithmetic.

    Stands in for a base model. Reinforcement needs some success to reinforce, and some doubt to decide: from random
    weights GRPO would never see a reward.
    """
    optimizer, held_out = AdamW(model, betas=(0.9, 0.98), decay=0.01), arithmetic.problems("validation", 100)

    def learn(corpus: Iterator[tuple[str, str]], rate: float) -> None:
        examples = [Rollout(prompt_ids(q), completion_ids(a), []) for q, a in itertools.islice(corpus, 32)]
        logprobs_BT, mask_BT = completion_logprobs(model, examples), completion_mask(examples)
        optimizer.step(-(logprobs_BT * mask_BT).sum() / mask_BT.sum(), rate)  # cross-entropy

    clean, noisy = arithmetic.corpus(seed, noisy=False), arithmetic.corpus(seed, noisy=True)
    for step in range(2000):
        learn(clean, learning_rate * min(1.0, (step + 1) / 40))
        if step % 25 == 24 and accuracy(model, held_out) >= until:
            break
    for step in range(noisy_steps):
        learn(noisy, learning_rate * (1 - step / noisy_steps))


def grpo(policy: Any, problems: Iterator[Problem], *, steps: int, learning_rate: float = 5e-4) -> None:
    """Sixteen problems a step, eight rollouts each, one optimizer step."""
    optimizer = AdamW(policy)
    for step in range(1, steps + 1):
        asked = [problem for problem in itertools.islice(problems, 16) for _ in range(8)]
        rollouts = sample(policy, [prompt_ids(problem.question) for problem in asked])
        rewards_B = torch.tensor([reward(p, r.completion_ids) for p, r in zip(asked, rollouts, strict=True)])
        optimizer.step(grpo_loss(policy, rollouts, advantages(rewards_B, group_size=8)), learning_rate)
        if step % 8 == 0:
            print(f"  step {step}: {rewards_B.mean():.0%} of {len(rollouts)} rollouts were right", flush=True)


def main() -> None:
    started = time.monotonic()
    policy, test = make_model(96, seed=0), arithmetic.problems("test", 500)
    pretrain(policy, until=0.7, noisy_steps=100)
    print(f"base model: {accuracy(policy, test):.0%} of test problems, {time.monotonic() - started:.0f} s", flush=True)
    grpo(policy, itertools.cycle(arithmetic.problems("pool", 768)), steps=48)
    print(f"after GRPO: {accuracy(policy, test):.0%} of test problems, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
