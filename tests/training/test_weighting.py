"""What rollouts and tokens weigh, against the plain form over whole logits; and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from reasoning_pipeline.errors import PipelineError  # noqa: E402
from reasoning_pipeline.hardware import HardwareProfile  # noqa: E402
from reasoning_pipeline.training.tiled_logits import top_k_overlap  # noqa: E402
from reasoning_pipeline.training.weighting import (  # noqa: E402
    by_difficulty,
    group_advantages,
    mean_one,
    policy_gradient,
    rollout_weights,
)


def graded(**verdicts: str) -> list[dict[str, Any]]:
    """Rows of a rollout set: graded(a="10", b="00") are two of each problem, the first of `a` right."""
    return [{"problem_id": name, "correct": mark == "1"} for name, marks in verdicts.items() for mark in marks]


def test_difficulty_is_the_share_that_the_writer_got_right() -> None:
    rows = graded(always="1111", often="1110", never="0000")
    assert {row["problem_id"] for row in by_difficulty(rows, "filter")} == {"often"}
    weights = {row["problem_id"]: row["difficulty"] for row in by_difficulty(rows, "weight")}
    assert weights == {"always": 0, "often": 0.75 * 0.25, "never": 0}
    assert by_difficulty(rows, "none") is rows


@pytest.mark.parametrize("difficulty", ["filter", "weight"])
def test_difficulty_that_cannot_be_known_is_refused(difficulty: Any) -> None:
    for rows, found, remedy in (
        ([{"problem_id": "a"}, *graded(b="10")], "1 of 3 rollouts have no verdict", "teacher_rollouts step"),
        (graded(a="10", b="1"), "1 of 2 problems have a single rollout", "rollouts_per_prompt: 2"),
        (graded(a="11", b="00"), "always right or always wrong", "difficulty: none"),
    ):
        with pytest.raises(PipelineError, match=found) as caught:
            by_difficulty(rows, difficulty)
        assert remedy in str(caught.value.remedy)


def test_weights_have_mean_one_over_tokens() -> None:
    torch.testing.assert_close(mean_one(torch.tensor([0.2, 0.6])), torch.tensor([0.5, 1.5]))
    torch.testing.assert_close(mean_one(torch.zeros(3)), torch.ones(3))
    weights_B = rollout_weights(torch.tensor([0.25, 0.0, 0.1]), torch.tensor([10, 30, 5]))
    assert (10 * weights_B[0] + 30 * weights_B[1] + 5 * weights_B[2]) / 45 == pytest.approx(1)
    assert weights_B[0] / weights_B[2] == pytest.approx(2.5) and weights_B[1] == 0
    assert rollout_weights(torch.zeros(2), torch.tensor([3, 4])).tolist() == [0, 0]


def test_advantages_are_standardised_within_a_group_and_leave_out_what_was_not_judged() -> None:
    nan = float("nan")
    found = group_advantages(torch.tensor([[1.0, 0, 0, 0], [1, 1, 1, 1], [1, nan, 0, nan], [nan, nan, nan, 1]]))
    scale = 0.5 + 1e-4  # sqrt((0.75^2 + 3 x 0.25^2) / 3) = 0.5
    torch.testing.assert_close(found[0], torch.tensor([0.75, -0.25, -0.25, -0.25]) / scale)
    assert found[1].tolist() == [0, 0, 0, 0]
    assert found[2].tolist() == pytest.approx([0.5 / (math.sqrt(0.5) + 1e-4), 0, -0.5 / (math.sqrt(0.5) + 1e-4), 0])
    assert found[3].tolist() == [0, 0, 0, 0]


def test_the_policy_gradient_raises_what_was_better() -> None:
    logprobs_N = torch.tensor([-1.0, -2.0], requires_grad=True)
    loss_N = policy_gradient(logprobs_N, torch.tensor([0.5, -1.0]))
    assert loss_N.tolist() == [0.5, -2.0]
    loss_N.sum().backward()
    assert logprobs_N.grad.tolist() == [-0.5, 1.0]


@pytest.mark.parametrize("top_k", [1, 3, 20])
def test_top_k_overlap_is_that_of_whole_logits_tile_by_tile(top_k: int) -> None:
    torch.manual_seed(0)
    ours_NH, theirs_NH, ours_VH, theirs_VH = (torch.randn(*shape) for shape in ((7, 4), (7, 6), (11, 4), (11, 6)))
    bias_V = torch.randn(11)
    found_N = top_k_overlap(ours_NH, ours_VH, bias_V, theirs_NH, theirs_VH, None, top_k=top_k, tile_elements=25)
    student_NV, teacher_NV = ours_NH @ ours_VH.T + bias_V, theirs_NH @ theirs_VH.T
    k = min(top_k, 11)
    for student_V, teacher_V, found in zip(student_NV, teacher_NV, found_N, strict=True):
        best = [set(logits_V.argsort(descending=True)[:k].tolist()) for logits_V in (student_V, teacher_V)]
        assert found.item() == pytest.approx(len(best[0] & best[1]) / k)


# The whole loss, on tiny models: TRL's tiles with the weights in between, against plain logits


def batch_of(rows: int = 3) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(5)
    prompt, completion = (torch.randint(3, 90, (rows, width), generator=generator) for width in (4, 6))
    mask = torch.ones_like(completion)
    mask[1, 4:] = 0
    mask[2, 1:] = 0  # padding in the middle of the flattened tokens
    return {
        "prompt_ids": prompt,
        "prompt_mask": torch.ones_like(prompt),
        "completion_ids": completion,
        "completion_mask": mask,
        "num_items_in_batch": mask.sum(),
    }


def plain_loss(student: Any, teacher: Any, batch: dict[str, Any], *, beta: float, entropy: bool, coefficient: float):
    """The definition, over whole logits."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    seen = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    mask_BT, start = batch["completion_mask"].bool(), batch["prompt_ids"].shape[1]
    logits = [model(ids, attention_mask=seen).logits[:, start - 1 : -1] for model in (student, teacher)]
    student_BTV, teacher_BTV = logits[0].log_softmax(-1), logits[1].detach().log_softmax(-1)
    first, second = (student_BTV, teacher_BTV) if beta == 1 else (teacher_BTV, student_BTV)
    loss_BT = (first.exp() * (first - second)).sum(-1)
    tokens = mask_BT.sum()
    if entropy:
        entropy_BT = -(first.exp() * first).sum(-1).detach() * mask_BT
        loss_BT = loss_BT * entropy_BT / (entropy_BT.sum() / tokens)
    if "rollout_weights" in batch:
        loss_BT = loss_BT * batch["rollout_weights"].unsqueeze(1)
    if coefficient:
        picked_BT = student_BTV.gather(-1, batch["completion_ids"].unsqueeze(-1)).squeeze(-1)
        loss_BT = loss_BT - coefficient * batch["advantages"].unsqueeze(1) * picked_BT
    return (loss_BT * mask_BT).sum() / tokens


CASES = {
    "plain": {},
    "entropy of the student": {"entropy": True},
    "entropy of the teacher": {"entropy": True, "beta": 0.0},
    "rollouts": {"beta": 0.0, "rollout_weights": True},
    "rollouts and entropy": {"beta": 0.0, "rollout_weights": True, "entropy": True},
    "reward": {"coefficient": 0.7},
    "reward and entropy": {"coefficient": 0.7, "entropy": True},
}


@pytest.fixture(scope="module")
def trainer(tiny_model: Path, other_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from datasets import Dataset

    from reasoning_pipeline.training.models import load_model, load_tokenizer
    from reasoning_pipeline.training.trl_bridge import CachedRolloutsTrainer, DistillationConfig

    return CachedRolloutsTrainer(
        model=load_model(tiny_model),
        teacher_model=load_model(other_model),
        args=DistillationConfig(
            bf16=False, output_dir=str(tmp_path_factory.mktemp("out")), use_cpu=True, report_to=[], max_steps=9
        ),
        train_dataset=Dataset.from_list([{"prompt": ""}]),
        processing_class=load_tokenizer(tiny_model),
    )


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_weighted_loss_and_its_gradient_are_those_of_the_definition(trainer: Any, case: dict[str, Any]) -> None:
    from reasoning_pipeline.training.trl_bridge import TokenTerms

    beta, entropy, coefficient = case.get("beta", 1.0), case.get("entropy", False), case.get("coefficient", 0.0)
    batch = batch_of()
    if case.get("rollout_weights"):
        batch["rollout_weights"] = rollout_weights(torch.tensor([0.25, 0.1, 0.0]), batch["completion_mask"].sum(1))
    if coefficient:
        batch["advantages"] = torch.tensor([0.9, -0.4, 0.0])
    trainer.terms = TokenTerms(token_weighting="entropy" if entropy else "uniform", reward_coefficient=coefficient)
    trainer.beta, trainer._observed = beta, {}
    student, teacher = trainer.model, trainer.teacher_model
    gradients = []
    for loss in (
        plain_loss(student, teacher, batch, beta=beta, entropy=entropy, coefficient=coefficient),
        trainer.compute_loss(student, batch),
    ):
        student.zero_grad()
        loss.backward()
        gradients.append((loss.detach(), [p.grad.clone() for p in student.parameters()]))
    (expected, by_hand), (found, ours) = gradients
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    for one, other in zip(ours, by_hand, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    kl = plain_loss(student, teacher, batch_of(), beta=beta, entropy=False, coefficient=0.0).item()
    if case:  # what is called kl stays one, whatever the tokens weigh
        total, tokens = trainer._observed["kl"].tolist()
        assert total / tokens == pytest.approx(kl, rel=1e-4)
    assert trainer._observed["top_k_overlap"][1] == batch["completion_mask"].sum(), "padding is not looked at"


# Steps of the stages


def written_set(folder: Path, model: Path, *, count: int = 6, each: int = 2) -> Path:
    """`each` rollouts a problem, the first of every second problem wrong."""
    from reasoning_pipeline.data import arithmetic
    from reasoning_pipeline.data.prompts import PromptRenderer

    renderer = PromptRenderer.from_folder(model)
    rows = []
    for number, problem in enumerate(arithmetic.problems("pool", count)):
        answer = renderer.tokenizer.encode(arithmetic.solution(problem.question), add_special_tokens=False).ids
        for sample in range(each):
            rows.append(
                {
                    "problem_id": problem.id,
                    "prompt_ids": renderer.prompt_ids(problem.question),
                    "completion_ids": [*answer[: len(answer) - sample], 2],
                    "correct": bool(sample or number % 2),
                }
            )
    folder.mkdir(parents=True)
    (folder / "rollouts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def step_context(config: Any, work: Path, inputs: dict[str, Path], profile: HardwareProfile, problems: int = 0) -> Any:
    from reasoning_pipeline.data import arithmetic
    from reasoning_pipeline.data.prompts import PromptConfig
    from reasoning_pipeline.training.context import StageContext

    return StageContext(
        config=config,
        label="test-step",
        problems=arithmetic.problems("pool", problems),
        inputs=inputs,
        prompt=PromptConfig(),
        profile=profile,
        work=work,
    )


COMMON = {"policy": "p", "teacher": "t", "seed": 3, "steps": 2, "learning_rate": 1e-3, "rollouts_per_step": 4}
IN_TWO_PASSES = HardwareProfile(engine="transformers", micro_batch=2)


def metrics_of(work: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (work / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
def test_a_weighted_warmup_learns_from_the_rollouts_between_always_and_never_right(
    tmp_path: Path, tiny_model: Path, other_model: Path
) -> None:
    from reasoning_pipeline.stages import forward_kl_warmup
    from reasoning_pipeline.training.distillation import cached_distillation_trainer

    inputs = {"policy": tiny_model, "teacher": other_model, "rollouts": written_set(tmp_path / "set", tiny_model)}
    config = forward_kl_warmup.Config(**COMMON, rollouts="r", difficulty="weight", token_weighting="entropy")
    context = step_context(config, tmp_path / "work", inputs, IN_TWO_PASSES)
    trainer = cached_distillation_trainer(config, context)
    batch = trainer._generate_and_score_completions([trainer.train_dataset[i] for i in range(4)])
    tokens_B = batch["completion_mask"].sum(1)
    assert (batch["rollout_weights"] * tokens_B).sum() / tokens_B.sum() == pytest.approx(1)
    context.train(trainer)
    rows = metrics_of(tmp_path / "work")
    assert [row["step"] for row in rows] == [1, 2]
    assert all(0 < row["kl"] != row["loss"] and 0 <= row["top_k_overlap"] <= 1 for row in rows)

    config = forward_kl_warmup.Config(**COMMON, rollouts="r", difficulty="filter")
    filtered = cached_distillation_trainer(config, step_context(config, tmp_path / "more", inputs, IN_TWO_PASSES))
    between = {tuple(row["prompt_ids"]) for row in trainer.train_dataset if row["difficulty"]}
    assert {tuple(row["prompt_ids"]) for row in filtered.train_dataset} <= between


@pytest.mark.slow
def test_a_reward_enters_on_policy_distillation(tmp_path: Path, tiny_model: Path, other_model: Path) -> None:
    from reasoning_pipeline.stages import on_policy_distillation

    config = on_policy_distillation.Config(
        **COMMON, prompts="first", rollouts_per_prompt=2, reward_coefficient=0.5, max_completion_tokens=8
    )
    inputs = {"policy": tiny_model, "teacher": other_model}
    context = step_context(config, tmp_path, inputs, IN_TWO_PASSES, problems=4)
    outcome = on_policy_distillation.run(config, context)
    rows = metrics_of(tmp_path)
    assert all({"reward", "groups_mixed", "kl", "top_k_overlap"} <= row.keys() for row in rows)
    assert sum(outcome.result["verdicts"].values()) == 8, "every rollout was judged"


def test_weights_are_refused_where_the_teacher_is_elsewhere(tmp_path: Path) -> None:
    from reasoning_pipeline.stages import on_policy_distillation
    from reasoning_pipeline.training.distillation import _refuse_weighing

    config = on_policy_distillation.Config(**COMMON, prompts="first", token_weighting="entropy")
    sharded = IN_TWO_PASSES.model_copy(update={"accelerate_config": "zero3.yaml", "processes": 2})
    for profile, teacher, remedy in ((IN_TWO_PASSES, object(), "teacher: trainer"), (sharded, None, "torchrun")):
        context = step_context(config, tmp_path, {}, profile)
        _refuse_weighing([], context, teacher)  # type: ignore[arg-type]
        with pytest.raises(PipelineError, match="token_weighting") as caught:
            _refuse_weighing(["token_weighting"], context, teacher)  # type: ignore[arg-type]
        assert remedy in str(caught.value.remedy)
