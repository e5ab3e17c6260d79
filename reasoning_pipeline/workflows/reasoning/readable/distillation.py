"""Both distillations from top to bottom in plain torch: what Stages 2a and 2b compute.

Read grpo.py first: the world, the model, sampling and the optimizer are those of that file, and so are the dimensions
in names (B rollouts, T completion tokens, V words). The tests hold the stages `forward_kl_warmup` and
`on_policy_distillation` against the functions below: loss, gradients, weights after a step.

    python -m reasoning_pipeline.workflows.reasoning.readable.distillation

makes a teacher and a smaller student, distills in the order of the workflow, and prints how often the student is right
and how far it is from the teacher; about two minutes on a CPU.

Why two? A state is a prompt and the completion so far. The student should do as the teacher does in the states that it
will meet when it writes by itself, and only its own rollouts show them (2b). But a student that is still far away
writes itself into states in which no teacher could help, so it first learns in those that the teacher visits (2a).
Each time the teacher answers with its whole distribution over the next token: a dense signal, where a reward is one
number for a whole rollout. No answer is looked up, no label is spent.

Source of the formulas: arXiv 2605.12483, Eq. 4 and Eq. 5.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from reasoning_pipeline.data import arithmetic
from reasoning_pipeline.workflows.reasoning.readable.grpo import (
    AdamW,
    Rollout,
    accuracy,
    completion_logits,
    completion_mask,
    make_model,
    pretrain,
    prompt_ids,
    sample,
)

# 1. The divergences. KL(p || q) = sum over words v of p(v) (log p(v) - log q(v)), in nats: how much more surprised, on
#    average, someone is who believes q where p writes. Never negative, 0 where p = q.


def kl(p_logits_BTV: Tensor, q_logits_BTV: Tensor, temperature: float = 1.0) -> Tensor:
    """kl_BT: KL(p || q) at each position, exact over the whole vocabulary.

    temperature: both distributions are softmax(logits / temperature). The value is the divergence of these two; it is
        not multiplied by temperature squared, as some distillation losses are.
    """
    p_BTV = (p_logits_BTV / temperature).log_softmax(-1)
    q_BTV = (q_logits_BTV / temperature).log_softmax(-1)
    return (p_BTV.exp() * (p_BTV - q_BTV)).sum(-1)


def forward_kl(student_logits_BTV: Tensor, teacher_logits_BTV: Tensor, temperature: float = 1.0) -> Tensor:
    """kl_BT = KL(teacher || student), Eq. 5: large where the student rules out what the teacher might write.

    Its gradient with respect to the student's logits is (student - teacher) / temperature, word by word: cross-entropy
    against the teacher's probabilities in the place of one right token. So the student spreads over all that the
    teacher does.
    """
    return kl(teacher_logits_BTV.detach(), student_logits_BTV, temperature)


def reverse_kl(student_logits_BTV: Tensor, teacher_logits_BTV: Tensor, temperature: float = 1.0) -> Tensor:
    """kl_BT = KL(student || teacher), Eq. 4: large where the student writes what the teacher rules out.

    It may leave out some of what the teacher would write, and be right in all that it does write.
    """
    return kl(student_logits_BTV, teacher_logits_BTV.detach(), temperature)


# 2. The loss. Both stages have the same one but for the direction of the divergence and for who wrote the rollouts.

Divergence = Callable[[Tensor, Tensor, float], Tensor]


def distillation_loss(
    student: Any, teacher: Any, rollouts: Sequence[Rollout], divergence: Divergence, temperature: float = 1.0
) -> Tensor:
    """One number: mean of the divergence over all completion tokens of the batch, END included; nats per token.

    Each token counts alike, however long its completion. Gradients reach the student's distribution at the states that
    were visited, and not the choice of which were: the rollouts are data, also where the student has written them.
    """
    with torch.no_grad():
        teacher_logits_BTV = completion_logits(teacher, rollouts)
    kl_BT = divergence(completion_logits(student, rollouts), teacher_logits_BTV, temperature)
    mask_BT = completion_mask(rollouts)
    return (kl_BT * mask_BT).sum() / mask_BT.sum()


# 3. Stage 2a, forward-KL warmup: the teacher writes once, and what it wrote is read again and again.


def warmup(student: Any, teacher: Any, cached: Iterator[Rollout], *, steps: int, learning_rate: float = 1e-3) -> None:
    """States: the teacher's. Only the tokens are kept; the teacher's distributions are computed anew each time."""
    optimizer = AdamW(student)
    for step in range(steps):
        rollouts = list(itertools.islice(cached, 64))
        loss = distillation_loss(student, teacher, rollouts, forward_kl)
        optimizer.step(loss, learning_rate)
        if step % 10 == 9:
            print(f"  step {step + 1}: KL(teacher || student) {loss:.3f} on the teacher's rollouts", flush=True)


# 4. Stage 2b, on-policy distillation: the student writes, the teacher comments on every token.


def on_policy(
    student: Any, teacher: Any, prompts: Iterator[list[int]], *, steps: int, learning_rate: float = 1e-3
) -> None:
    """States: the student's own, of this very step; so each batch is written, learned from once and thrown away."""
    optimizer = AdamW(student)
    for step in range(steps):
        rollouts = sample(student, list(itertools.islice(prompts, 64)))
        loss = distillation_loss(student, teacher, rollouts, reverse_kl)
        optimizer.step(loss, learning_rate)
        if step % 10 == 9:
            print(f"  step {step + 1}: KL(student || teacher) {loss:.3f} on the student's rollouts", flush=True)


# 5. All of it.


def main() -> None:
    started = time.monotonic()
    test = arithmetic.problems("test", 500)
    prompts = [prompt_ids(problem.question) for problem in arithmetic.problems("pool", 768)]

    def report(name: str, model: Any) -> None:
        with torch.no_grad():
            distance = distillation_loss(model, teacher, sample(model, prompts[:300]), reverse_kl)
        print(
            f"{name:<17} {accuracy(model, test):>4.0%} of test problems, on rollouts of its own {distance:.3f} nats a "
            f"token from the teacher ({time.monotonic() - started:.0f} s)",
            flush=True,
        )

    # The workflow's teacher comes out of Stage 1 (grpo.py). Here it is made by more supervised learning, which is
    # quicker; to distillation it is the same: a model that is often right, and says how likely it finds each word.
    teacher, student = make_model(96, seed=0), make_model(64, seed=1)
    pretrain(teacher, until=0.8)
    report("teacher", teacher)
    pretrain(student, until=0.45, noisy_steps=80, learning_rate=3e-3, seed=1)
    report("student", student)
    cached = sample(teacher, prompts)
    warmup(student, teacher, itertools.cycle(cached), steps=60)
    report("after the warmup", student)
    on_policy(student, teacher, itertools.cycle(prompts), steps=60)
    report("after on-policy", student)


if __name__ == "__main__":
    main()
