"""The readable twins: each formula by hand, and the stages held against them.

A stage is driven through its `run`, as the runner does it, for one optimizer step on rollouts that the test has
written: uneven lengths, some cut off, rewards of all kinds. Loss, gradients (after clipping, as the optimizer gets
them) and the published weights must be the twin's.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from reasoning_pipeline.data import arithmetic
from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.data.tokenizer_making import save_character_tokenizer
from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.recipe.workflows import stage_module
from reasoning_pipeline.records import Problem
from reasoning_pipeline.rollouts.clients.completions import Completion, GenerationRequest
from reasoning_pipeline.run.context import StageContext
from reasoning_pipeline.run.metrics import read_metrics
from reasoning_pipeline.workflows.reasoning.readable import distillation, grpo
from reasoning_pipeline.workflows.reasoning.readable.grpo import Rollout

# Both sides compute in float32 and add up in another order (the stages pad on the left, go through the batch in several
# passes and through the vocabulary in tiles). A float32 has 7 digits; sums of thousands of terms keep 5 of them.
LOSS_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 2e-5
"""Relative to the tensor's largest entry: small entries are differences of large ones."""

# ---- by hand: the formulas themselves


def test_the_twins_world_is_the_pipelines(tmp_path: Path) -> None:
    save_character_tokenizer(tmp_path)
    renderer = PromptRenderer.from_folder(tmp_path)
    for problem in [*arithmetic.problems("pool", 5), *arithmetic.problems("hard", 5)]:
        assert grpo.prompt_ids(problem.question) == renderer.prompt_ids(problem.question)
        text = arithmetic.solution(problem.question)
        ids = renderer.tokenizer.encode(text, add_special_tokens=False).ids
        assert grpo.completion_ids(text) == [*ids, *renderer.stop_ids]
        assert len(grpo.completion_ids(text)) <= grpo.MAX_COMPLETION_TOKENS


def test_advantages() -> None:
    rewards_B = torch.tensor([1.0, 0, 0, 0, 1, 1, 1, 1], dtype=torch.float64)
    # Group 1: mean 1/4, variance (9 + 1 + 1 + 1) / 16 / 3 = 1/4. Group 2 is constant.
    by_hand = torch.tensor([0.75, -0.25, -0.25, -0.25, 0, 0, 0, 0], dtype=torch.float64)
    close(grpo.advantages(rewards_B, 4, "none"), by_hand)
    close(grpo.advantages(rewards_B, 4, "group"), by_hand / (0.5 + 1e-4))
    # All eight: mean 5/8, variance (5 x 9/64 + 3 x 25/64) / 7.
    close(grpo.advantages(rewards_B, 4, "batch"), by_hand / ((120 / 64 / 7) ** 0.5 + 1e-4))


@pytest.mark.parametrize(("loss", "expected"), [("dapo", 10 / 4), ("bnpo", 10 / 4), ("grpo", 3), ("dr_grpo", 10 / 16)])
def test_what_a_long_completion_counts(loss: Any, expected: float) -> None:
    # One token of loss 4 and three of loss 2, at most eight; padding holds nonsense.
    losses_BT, mask_BT = torch.tensor([[4.0, 99, 99], [2, 2, 2]]), torch.tensor([[1.0, 0, 0], [1, 1, 1]])
    assert grpo.over_batch(losses_BT, mask_BT, loss, max_completion_tokens=8).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.0, 2.0, -2.0, -2.0),  # on-policy: the policy gradient
        (1.5, 1.0, -1.2, 0.0),  # likelier by enough already
        (1.5, -1.0, 1.5, 1.5),  # likelier, and it was bad: nothing holds it back
        (0.5, -1.0, 0.8, 0.0),
        (0.5, 1.0, -0.5, -0.5),
    ],
)
def test_the_clipped_surrogate(ratio: float, advantage: float, loss: float, slope: float) -> None:
    logprobs_BT = torch.tensor([[ratio]], dtype=torch.float64).log().requires_grad_()
    found = grpo.surrogate(logprobs_BT, torch.zeros(1, 1), torch.tensor([advantage]), clip_ratio=0.2)
    assert found.item() == pytest.approx(loss)
    (gradient,) = torch.autograd.grad(found.sum(), logprobs_BT)
    assert gradient.item() == pytest.approx(slope)


def test_weights_of_another_sampler_are_truncated_at_two() -> None:
    policy_BT, sampler_BT = torch.tensor([[0.5, 0.5, 0.2]]).log(), torch.tensor([[0.5, 0.1, 0.8]]).log()
    close(grpo.sampler_weights(policy_BT, sampler_BT), torch.tensor([[1.0, 2.0, 0.25]]))


def test_the_start_penalty_is_on_average_the_divergence_and_so_is_its_gradient() -> None:
    logits_V, start_V = torch.tensor([0.7, 0.2, 0.1]).double().log(), torch.tensor([0.3, 0.3, 0.4]).double().log()
    logits_V.requires_grad_()
    policy_V = logits_V.log_softmax(-1)
    divergence = (policy_V.exp() * (policy_V - start_V)).sum()
    # The average over what might be drawn. Drawing has no gradient: probabilities are numbers here.
    penalty_V = grpo.start_penalty(policy_V, policy_V.detach(), start_V)
    average = (policy_V.exp().detach() * penalty_V).sum()
    assert (penalty_V > 0).all() and grpo.start_penalty(policy_V, policy_V, policy_V).abs().max() == 0
    close(average, divergence)
    close(*(torch.autograd.grad(value, logits_V, retain_graph=True)[0] for value in (average, divergence)))


def test_adamw_is_torchs() -> None:
    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(4, 3).double(), torch.nn.Linear(4, 3).double()
    theirs.load_state_dict(ours.state_dict())
    optimizer = grpo.AdamW(ours, betas=(0.9, 0.98), decay=0.1)
    # torch's shrinks what it is told to; the twin, as transformers' trainer, matrices alone.
    groups = [{"params": [theirs.weight]}, {"params": [theirs.bias], "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.98), weight_decay=0.1)
    for scale in (0.1, 10.0, 1.0):  # the second gradient is longer than 1
        inputs = torch.randn(5, 4, dtype=torch.float64) * scale
        optimizer.step(ours(inputs).square().mean(), learning_rate=0.01)
        reference.zero_grad()
        theirs(inputs).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        reference.step()
        close(ours.weight, theirs.weight)
        close(ours.bias, theirs.bias)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_divergences(temperature: float) -> None:
    torch.manual_seed(0)
    student_BTV, teacher_BTV = torch.randn(2, 2, 3, 7, dtype=torch.float64)
    p_BTV, q_BTV = ((logits / temperature).softmax(-1) for logits in (student_BTV, teacher_BTV))
    close(
        distillation.reverse_kl(student_BTV, teacher_BTV, temperature),
        torch.distributions.kl_divergence(*map(torch.distributions.Categorical, (p_BTV, q_BTV))),
    )
    close(
        distillation.forward_kl(student_BTV, teacher_BTV, temperature),
        torch.distributions.kl_divergence(*map(torch.distributions.Categorical, (q_BTV, p_BTV))),
    )
    for divergence in (distillation.forward_kl, distillation.reverse_kl):
        assert divergence(student_BTV, student_BTV, temperature).abs().max() < 1e-15
    student_BTV.requires_grad_()
    forward = distillation.forward_kl(student_BTV, teacher_BTV, temperature).sum()
    close(torch.autograd.grad(forward, student_BTV)[0], (p_BTV - q_BTV).detach() / temperature)


@pytest.mark.slow  # importing transformers takes seconds
def test_a_rollout_remembers_the_policys_own_logprobs() -> None:
    policy = grpo.make_model(32, seed=0)
    torch.manual_seed(0)
    prompts = [grpo.prompt_ids(problem.question) for problem in arithmetic.problems("pool", 40)]
    with torch.no_grad():
        policy.get_output_embeddings().weight[grpo.END_ID] *= 20  # so that some end by themselves
    rollouts = grpo.sample(policy, prompts, temperature=0.7)
    lengths = Counter(len(rollout.completion_ids) for rollout in rollouts)
    assert len(lengths) > 3 and max(lengths) == grpo.MAX_COMPLETION_TOKENS
    assert all(grpo.END_ID not in rollout.completion_ids[:-1] for rollout in rollouts)
    logprobs_BT, mask_BT = grpo.completion_logprobs(policy, rollouts, temperature=0.7), grpo.completion_mask(rollouts)
    remembered = torch.tensor([value for rollout in rollouts for value in rollout.logprobs])
    close(logprobs_BT[mask_BT.bool()], remembered, rtol=1e-4, atol=1e-5)  # one token at a time, and all at once


def close(found: torch.Tensor, expected: torch.Tensor, **tolerances: float) -> None:
    torch.testing.assert_close(found, expected, **tolerances)


# ---- the stages


@dataclass
class Writer:
    """Stands for the rollout server: says what it is told, with log-probabilities of its own, and takes any weights."""

    completions: dict[tuple[int, ...], list[Rollout]]
    """Of each prompt."""
    version: str = ""
    seconds: float = 0.0
    difference: float = 0.0
    asleep: bool = False
    written: list[Rollout] = field(default_factory=list)
    """In the order of the trainer's batch."""

    def push(self, model: Any, version: str) -> None:
        self.version = version

    def rest(self) -> None:
        """Nothing to sleep."""

    def generate(
        self, requests: list[GenerationRequest], decoding: Any, *, stop_ids: Any, on_result: Any
    ) -> list[list[Completion]]:
        groups = []
        for index, request in enumerate(requests):
            chosen = self.completions[tuple(request.prompt_ids)][: request.n]
            self.written.extend(chosen)
            groups.append(
                [
                    Completion(
                        token_ids=rollout.completion_ids,
                        logprobs=rollout.logprobs,
                        finish="stop" if rollout.completion_ids[-1] in stop_ids else "length",
                        policy_version=self.version,
                    )
                    for rollout in chosen
                ]
            )
            on_result(index, groups[-1])
        return groups


@dataclass
class Step:
    """What one optimizer step was made of, and what it made."""

    loss: float
    gradients: dict[str, torch.Tensor]
    weights: dict[str, torch.Tensor]
    rollouts_trained: float | None = None


def stage_step(
    kind: str,
    fields: dict[str, Any],
    work: Path,
    inputs: dict[str, Path],
    *,
    problems: list[Problem],
    writer: Writer | None = None,
    micro_batch: int | None = None,
    before: Any = None,
) -> Step:
    """One step of a stage, through its `run`. `before(trainer)` may change what the trainer holds."""
    from transformers import TrainerCallback

    from reasoning_pipeline.models.loading import load_model
    from reasoning_pipeline.training import distillation as train_distillation
    from reasoning_pipeline.training import loop

    module = stage_module(kind)
    config = module.Config(policy="p", seed=3, steps=1, learning_rate=LEARNING_RATE, **fields)
    context = StageContext(
        config=config, label="test-step", problems=problems, inputs=inputs, prompt=PromptConfig(), work=work,
        profile=HardwareProfile(micro_batch=micro_batch), client=writer, transfer_folder=work,  # type: ignore[arg-type]
    )  # fmt: skip
    gradients: dict[str, torch.Tensor] = {}

    class Watcher(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            gradients.update({name: p.grad.clone() for name, p in model.named_parameters()})

    train = loop.train

    def watched(trainer: Any, context: StageContext) -> Any:
        if writer is not None:
            trainer.vllm_generation.push_weights = writer
        if before is not None:
            before(trainer)
        trainer.add_callback(Watcher)
        return train(trainer, context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train", watched)
        patch.setattr(train_distillation, "train", watched)
        outcome = module.run(config, context)
    weights = dict(load_model(outcome.folder).named_parameters())
    (row,) = read_metrics(work / "metrics.jsonl")
    return Step(row["loss"], gradients, weights, row.get("rollouts_trained"))


def twin_step(model: Any, loss: torch.Tensor, *, decay: float = 0.0, max_norm: float = 1.0) -> Step:
    """The same by the twin's optimizer."""
    names = [name for name, _ in model.named_parameters()]
    gradients = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
    optimizer = grpo.AdamW(model, betas=(0.9, 0.999), decay=decay)
    norm = optimizer.step(loss, LEARNING_RATE, max_norm=max_norm)
    shortened = [gradient * min(1.0, max_norm / (norm + 1e-6)) for gradient in gradients]
    return Step(loss.item(), dict(zip(names, shortened, strict=True)), dict(model.named_parameters()))


LEARNING_RATE = 1e-3


def assert_same_step(stage: Step, twin: Step) -> None:
    assert stage.loss == pytest.approx(twin.loss, rel=LOSS_TOLERANCE, abs=LOSS_TOLERANCE)
    assert set(stage.gradients) == set(twin.gradients)
    largest = max(float(gradient.abs().max()) for gradient in twin.gradients.values())
    assert largest > 1e-4, "else equal gradients would show nothing"
    compared = 0
    for name, gradient in twin.gradients.items():
        noise = GRADIENT_TOLERANCE * float(gradient.abs().max())
        close(stage.gradients[name], gradient, rtol=0, atol=noise)
        # Adam divides the first gradient by its own size, so an entry that is all rounding moves a whole step either
        # way. Where a gradient is a hundred times its noise, the step is the same to a hundredth; elsewhere it is no
        # longer than the learning rate on both sides.
        sure = gradient.abs() > 100 * noise
        difference = (stage.weights[name] - twin.weights[name]).abs()
        assert float(difference[sure].max()) < 0.01 * LEARNING_RATE, name
        assert float(difference.max()) < 2.1 * LEARNING_RATE, name
        compared += int(sure.sum())
    assert compared > 0.75 * sum(gradient.numel() for gradient in twin.gradients.values())


def model_at(folder: Path) -> Any:
    from reasoning_pipeline.models.loading import load_model

    return load_model(folder)


# GRPO: four problems, four rollouts each.

PROBLEMS = arithmetic.problems("pool", 4)
MAX_TOKENS = 26


def answers(problem: Problem) -> list[str]:
    """Three ways to be right and two to be wrong, of different lengths."""
    other = str((int(problem.answer) + 1) % 10)
    box = f"\\boxed{{{problem.answer}}}"
    return [arithmetic.solution(problem.question), box, f"{other};{box}", f"\\boxed{{{other}}}", f"no idea, {other};"]


def group_rollouts() -> dict[tuple[int, ...], list[Rollout]]:
    """All right, all wrong, and two mixed groups; two rollouts that do not end."""
    generator = torch.Generator().manual_seed(5)
    groups = {}
    for problem, picks in zip(PROBLEMS, ([0, 1, 2, 0], [3, 4, 4, 3], [0, 3, 4, 4], [1, 2, 3, 0]), strict=True):
        texts = [answers(problem)[pick] for pick in picks]
        rows = [grpo.completion_ids(text) for text in texts]
        rows[2] = (rows[2][:-1] + grpo.completion_ids("1;2;3;4;5;6;7;8;9;0;1;2;3;")[:-1])[:MAX_TOKENS]
        groups[tuple(grpo.prompt_ids(problem.question))] = [
            Rollout(
                grpo.prompt_ids(problem.question),
                ids,
                # Of a writer that agrees with nobody: between 0 and -10 nats, so that weights above and below 2 occur.
                (torch.rand(len(ids), generator=generator) * -10).tolist(),
            )
            for ids in rows
        ]
    return groups


GROUPS: dict[str, Any] = {
    "spends": "first", "problems_per_step": 4, "group_size": 4, "max_completion_tokens": MAX_TOKENS,
    "correct_sampler_mismatch": False,
}  # fmt: skip
EVERYTHING = {
    "loss": "grpo", "scale_advantages": "batch", "clip_ratio": 0.1, "kl_coefficient": 0.3, "temperature": 0.7,
    "correct_sampler_mismatch": True, "weight_decay": 0.1, "max_grad_norm": 0.05,
}  # fmt: skip
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "dapo": ("sparse_grpo", {}),
    "grpo": ("sparse_grpo", {"loss": "grpo"}),
    "dr_grpo": ("sparse_grpo", {"loss": "dr_grpo"}),
    "scaled by the batch": ("sparse_grpo", {"scale_advantages": "batch"}),
    "not scaled": ("sparse_grpo", {"scale_advantages": "none"}),
    "penalty": ("extra_rl", {"kl_coefficient": 0.3}),
    "another sampler": ("sparse_grpo", {"correct_sampler_mismatch": True}),
    "warm": ("sparse_grpo", {"temperature": 0.7}),
    "everything": ("extra_rl", EVERYTHING),
}


def twin_grpo(rollouts: list[Rollout], policy: Any, start: Any, fields: dict[str, Any], **more: Any) -> torch.Tensor:
    """The twin's loss on the rollouts of the stage's batch, in its order."""
    problem_of = {tuple(grpo.prompt_ids(problem.question)): problem for problem in PROBLEMS}
    rewards_B = torch.tensor([grpo.reward(problem_of[tuple(r.prompt_ids)], r.completion_ids) for r in rollouts])
    assert sorted(rewards_B.view(-1, 4).sum(1).tolist()) == [0, 1, 3, 4]
    names = ("loss", "clip_ratio", "kl_coefficient", "correct_sampler_mismatch", "temperature", "max_completion_tokens")
    return grpo.grpo_loss(
        policy,
        rollouts,
        grpo.advantages(rewards_B, 4, fields.get("scale_advantages", "group")),
        start=start,
        **{name: fields[name] for name in names if name in fields},
        **more,
    )


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_step_of_grpo_is_the_twins(case: str, tmp_path: Path, tiny_model: Path, other_model: Path) -> None:
    kind, changes = CASES[case]
    fields, writer = GROUPS | changes, Writer(group_rollouts())

    def start_elsewhere(trainer: Any) -> None:
        if trainer.ref_model is not None:  # at the first step policy and start are the same, and the penalty is 0
            trainer.ref_model.load_state_dict(model_at(other_model).state_dict())

    stage = stage_step(
        kind, fields, tmp_path, {"policy": tiny_model}, problems=PROBLEMS, writer=writer, micro_batch=4,
        before=start_elsewhere,
    )  # fmt: skip
    # The twin computes all rollouts; of the stage's, the two groups that are all right or all wrong only for a penalty.
    assert stage.rollouts_trained == (1 if "kl_coefficient" in fields else 0.5)
    policy = model_at(tiny_model)
    loss = twin_grpo(writer.written, policy, model_at(other_model), fields)
    decay, max_norm = fields.get("weight_decay", 0.0), fields.get("max_grad_norm", 1.0)
    assert_same_step(stage, twin_step(policy, loss, decay=decay, max_norm=max_norm))


@pytest.mark.slow
def test_a_step_of_bnpo_in_several_passes_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    # Each pass is divided by its own tokens, so that the split would decide what is learned.
    with pytest.raises(RecipeError, match="`loss: bnpo` divides by the tokens of each pass"):
        stage_step(
            "sparse_grpo", GROUPS | {"loss": "bnpo"}, tmp_path, {"policy": tiny_model}, problems=PROBLEMS,
            writer=Writer(group_rollouts()), micro_batch=4,
        )  # fmt: skip


@pytest.mark.slow
def test_a_step_of_bnpo_is_the_twins(tmp_path: Path, tiny_model: Path) -> None:
    fields, writer = GROUPS | {"loss": "bnpo"}, Writer(group_rollouts())
    stage = stage_step("sparse_grpo", fields, tmp_path, {"policy": tiny_model}, problems=PROBLEMS, writer=writer)
    policy = model_at(tiny_model)
    assert_same_step(stage, twin_step(policy, twin_grpo(writer.written, policy, None, fields)))


@pytest.mark.slow
def test_a_step_from_an_older_policys_rollouts_is_clipped_as_the_twins(tmp_path: Path, tiny_model: Path) -> None:
    # With one optimizer step a batch no stage clips by itself. Here the trainer is told of an older policy.
    fields, writer = GROUPS | {"correct_sampler_mismatch": True, "clip_ratio": 0.15}, Writer(group_rollouts())
    older: list[torch.Tensor] = []

    def tell(trainer: Any) -> None:
        score = trainer._generate_and_score_completions

        def scored(inputs: Any) -> Any:
            batch = score(inputs)
            ids, mask = (
                torch.cat([batch[f"prompt_{part}"], batch[f"completion_{part}"]], 1) for part in ("ids", "mask")
            )
            with torch.no_grad():
                logprobs_BT, _, _ = trainer._get_per_token_logps_and_entropies(
                    trainer.model, ids, mask, batch["completion_ids"].shape[1]
                )
            change_BT = torch.rand(logprobs_BT.shape, generator=torch.Generator().manual_seed(0)) - 0.5
            batch["old_per_token_logps"] = logprobs_BT + change_BT
            older.append(batch["old_per_token_logps"].clone())
            return batch

        trainer._generate_and_score_completions = scored

    stage = stage_step(
        "sparse_grpo", fields, tmp_path, {"policy": tiny_model}, problems=PROBLEMS, writer=writer, micro_batch=4,
        before=tell,
    )  # fmt: skip
    policy = model_at(tiny_model)
    loss = twin_grpo(writer.written, policy, None, fields, old_logprobs_BT=older[0])
    unclipped = twin_grpo(writer.written, policy, None, fields | {"clip_ratio": 99}, old_logprobs_BT=older[0])
    assert abs(float(loss - unclipped)) > 0.01, "else the clip did not act"
    assert_same_step(stage, twin_step(policy, loss))


@pytest.mark.slow
def test_the_twin_pays_as_the_verifier_does() -> None:
    from reasoning_pipeline.verifier import shared_verifier

    for problem in PROBLEMS:
        texts = [*answers(problem), "", "\\boxed{}", "\\boxed{1", f"\\boxed{{0}}\\boxed{{{problem.answer}}};3"]
        for finish in ("stop", "length"):
            questions, finishes = [problem.question] * len(texts), [finish] * len(texts)
            verdicts = shared_verifier("strict").judge(
                [problem.answer] * len(texts), texts, finishes=finishes, questions=questions
            )
            end = None if finish == "stop" else -1  # without its END token
            paid = [grpo.reward(problem, grpo.completion_ids(text)[:end]) for text in texts]
            assert [verdict.reward for verdict in verdicts] == paid and len(set(paid)) == 2


# Distillation: eight rollouts of uneven lengths.


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_a_step_of_the_warmup_is_the_twins(
    temperature: float, tmp_path: Path, tiny_model: Path, other_model: Path
) -> None:
    rollouts = [rollout for group in group_rollouts().values() for rollout in group[1:3]]
    # Prompts of uneven length, too: those of a real tokenizer are.
    rollouts = [Rollout(r.prompt_ids[i % 3 :], r.completion_ids, []) for i, r in enumerate(rollouts)]
    (tmp_path / "rollouts.jsonl").write_text("".join(json.dumps(rollout._asdict()) + "\n" for rollout in rollouts))
    inputs = {"policy": tiny_model, "teacher": other_model, "rollouts": tmp_path}
    fields = {"teacher": "t", "rollouts": "r", "rollouts_per_step": 8, "temperature": temperature}
    stage = stage_step("forward_kl_warmup", fields, tmp_path / "work", inputs, problems=[], micro_batch=2)
    student, teacher = model_at(tiny_model), model_at(other_model)
    loss = distillation.distillation_loss(student, teacher, rollouts, distillation.forward_kl, temperature)
    assert_same_step(stage, twin_step(student, loss))


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_a_step_of_on_policy_distillation_is_the_twins(
    temperature: float, tmp_path: Path, tiny_model: Path, other_model: Path
) -> None:
    writer, inputs = Writer(group_rollouts()), {"policy": tiny_model, "teacher": other_model}
    fields = {
        "teacher": "t", "prompts": "first", "rollouts_per_step": 16, "rollouts_per_prompt": 4,
        "max_completion_tokens": MAX_TOKENS, "temperature": temperature,
    }  # fmt: skip
    stage = stage_step(
        "on_policy_distillation", fields, tmp_path, inputs, problems=PROBLEMS, writer=writer, micro_batch=4
    )
    student, teacher = model_at(tiny_model), model_at(other_model)
    loss = distillation.distillation_loss(student, teacher, writer.written, distillation.reverse_kl, temperature)
    assert_same_step(stage, twin_step(student, loss))
