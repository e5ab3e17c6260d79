"""Trainers whose models two processes divide (FSDP2): what each holds, and the gradient against one written by hand."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from reasoning_pipeline.data import arithmetic
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.estimates.memory import Placement, TrainingTask, resident, trainer_parts
from reasoning_pipeline.estimates.shapes import ModelShape, shape_of_config
from reasoning_pipeline.hardware.environment import own_environment
from reasoning_pipeline.hardware.launcher import launch_command
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.models.loading import load_model
from reasoning_pipeline.training.distance import rollout_distances
from tests.fsdp2 import ENVIRONMENT, PROJECT
from tests.training.sharded_process import GROUP, KL, MEASURED, NOISE, PROBLEMS

pytestmark = pytest.mark.slow

LAYERS = 3
TOKENS = 90
CASES = ("forward_kl", "grpo")


def make_model(folder: Path, *, seed: int, hidden: int, tied: bool) -> Path:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from reasoning_pipeline.data.tokenizer_making import save_character_tokenizer

    save_character_tokenizer(folder)
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=112, hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=LAYERS,
        num_attention_heads=2, num_key_value_heads=1, head_dim=32, max_position_embeddings=256,
        tie_word_embeddings=tied, bos_token_id=None, eos_token_id=2, pad_token_id=0, initializer_range=0.1,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


def write_rollouts(folder: Path, renderer: PromptRenderer) -> list[dict[str, Any]]:
    """A group for each problem; some right, the others noise of 1 to 30 tokens, some of it cut off."""
    draw, rows = random.Random(11), []
    for problem in arithmetic.problems("pool", PROBLEMS):
        for number in range(GROUP):
            right = number == 0 or draw.random() < 0.3
            text = arithmetic.solution(problem.question)
            body = renderer.tokenizer.encode(text, add_special_tokens=False).ids
            if not right:
                body = [draw.randrange(5, 112) for _ in range(draw.choice([1, 4, 11, 30]))]
            completion = [*body, 2] if right or draw.random() < 0.6 else body
            ids = renderer.prompt_ids(problem.question)
            rows.append({"problem_id": problem.id, "prompt_ids": ids, "completion_ids": completion, "right": right})
    folder.mkdir()
    (folder / "rollouts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return rows


class Divided:
    """Both cases, trained by two processes in one precision."""

    def __init__(self, folder: Path, precision: str, *, uneven: bool = False) -> None:
        self.folder = folder
        self.policy = make_model(folder / "policy", seed=1, hidden=64, tied=True)
        self.teacher = make_model(folder / "teacher", seed=2, hidden=256, tied=False)
        self.rows = write_rollouts(folder / "rollouts", PromptRenderer.from_folder(self.policy))
        profile = HardwareProfile(
            processes=2, accelerate_config="fsdp2.yaml", precision=precision, environment=ENVIRONMENT,  # type: ignore[arg-type]
            micro_batch=None if uneven else 1, tokens_per_micro_batch=TOKENS if uneven else None,
        )  # fmt: skip
        job = {name: str(folder / name) for name in ("policy", "teacher", "rollouts")}
        job |= {"folder": str(folder), "cases": CASES, "uneven": uneven, "profile": profile.model_dump(mode="json")}  # type: ignore[dict-item]
        (folder / "job.json").write_text(json.dumps(job))
        ended = subprocess.run(
            launch_command(profile, ["-m", "tests.training.sharded_process", str(folder / "job.json")]),
            cwd=PROJECT, env=own_environment(os.environ) | profile.environment, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr[-6000:]

    def seen(self, case: str) -> list[dict[str, Any]]:
        return [json.loads((self.folder / f"{case}-{rank}.json").read_text()) for rank in range(2)]

    def gradients(self, case: str) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = torch.load(self.folder / f"{case}.pt")
        return found

    def error(self, case: str, loss: Any) -> float:
        """Of the gradient, relative to that of `loss(policy)` in float64."""
        policy = load_model(self.policy).double()
        loss(policy).backward()
        theirs = self.gradients(case)
        exact = torch.cat([parameter.grad.flatten() for _, parameter in policy.named_parameters()])  # type: ignore[union-attr]
        found = torch.cat([theirs[name].flatten() for name, _ in policy.named_parameters()]).double()
        return float((found - exact).norm() / exact.norm())


@pytest.fixture(scope="module")
def in_float32(tmp_path_factory: pytest.TempPathFactory) -> Divided:
    return Divided(tmp_path_factory.mktemp("float32"), "float32")


@pytest.fixture(scope="module")
def in_bfloat16(tmp_path_factory: pytest.TempPathFactory) -> Divided:
    return Divided(tmp_path_factory.mktemp("bfloat16"), "bfloat16")


@pytest.fixture(scope="module")
def by_tokens(tmp_path_factory: pytest.TempPathFactory) -> Divided:
    """Passes of some rows or none: a process without any still has to take part in what all gather and sum."""
    return Divided(tmp_path_factory.mktemp("tokens"), "float32", uneven=True)


def logprobs(model: Any, row: dict[str, Any]) -> torch.Tensor:
    """[T, V] of the completion's tokens."""
    ids = torch.tensor([row["prompt_ids"] + row["completion_ids"]])
    return model(ids).logits[0, len(row["prompt_ids"]) - 1 : -1].log_softmax(-1)  # type: ignore[no-any-return]


def forward_kl(divided: Divided) -> Any:
    """Mean over all tokens of KL(teacher || student)."""

    def loss(policy: Any) -> torch.Tensor:
        teacher, total, tokens = load_model(divided.teacher).double(), torch.zeros(()), 0
        for row in divided.rows:
            ours_TV = logprobs(policy, row)
            with torch.no_grad():
                theirs_TV = logprobs(teacher, row)
            total = total + (theirs_TV.exp() * (theirs_TV - ours_TV)).sum()
            tokens += len(row["completion_ids"])
        return total / tokens

    return loss


def group_relative(divided: Divided) -> Any:
    """Each token's advantage and penalty, over all tokens; the penalty is multiplied by the policy's own ratio."""

    def loss(policy: Any) -> torch.Tensor:
        start = load_model(divided.policy).double()
        torch.manual_seed(99)
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter.add_((NOISE * torch.randn(parameter.shape)).double())
        total = torch.zeros(())
        for first in range(0, len(divided.rows), GROUP):
            group = divided.rows[first : first + GROUP]
            rewards_G = torch.tensor([float(row["right"]) for row in group], dtype=torch.float64)
            advantages_G = (rewards_G - rewards_G.mean()) / (rewards_G.std() + 1e-4)
            for advantage, row in zip(advantages_G, group, strict=True):
                words_T = torch.tensor(row["completion_ids"])[:, None]
                ours_T = logprobs(policy, row).gather(-1, words_T).squeeze(-1)
                with torch.no_grad():
                    starts_T = logprobs(start, row).gather(-1, words_T).squeeze(-1)
                ratio_T = (ours_T - ours_T.detach()).exp()  # one step a batch: its value is 1
                gap_T = starts_T - ours_T
                total = total + (-ratio_T * advantage + KL * ratio_T * (gap_T.exp() - gap_T - 1)).sum()
        return total / sum(len(row["completion_ids"]) for row in divided.rows)

    return loss


LOSSES = {"forward_kl": forward_kl, "grpo": group_relative}


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_of_divided_models_is_the_one_written_by_hand(in_float32: Divided, case: str) -> None:
    assert in_float32.error(case, LOSSES[case](in_float32)) < 1e-5


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_same_by_tokens_where_one_process_has_no_rows(by_tokens: Divided, case: str) -> None:
    assert by_tokens.error(case, LOSSES[case](by_tokens)) < 1e-5


@pytest.mark.parametrize("case", CASES)
def test_in_bfloat16_the_passes_of_a_step_are_summed_in_float32(in_bfloat16: Divided, case: str) -> None:
    for seen in in_bfloat16.seen(case):
        assert seen["whole_gradients"] == 0 and seen["gradient_types"] == ["torch.float32"]
    assert in_bfloat16.error(case, LOSSES[case](in_bfloat16)) < 0.03, "what the products of eight passes round"


@pytest.mark.parametrize(("case", "beside"), [("forward_kl", "teacher_model"), ("grpo", "ref_model")])
def test_what_stands_beside_the_policy_is_divided_layer_by_layer(in_bfloat16: Divided, case: str, beside: str) -> None:
    for seen in in_bfloat16.seen(case):
        for model in ("model_wrapped", beside):
            assert seen[model]["divided"], f"{model} is whole"
            assert seen[model]["pieces"] > LAYERS, f"{model} is gathered as one"


@pytest.mark.parametrize("case", CASES)
def test_between_passes_a_process_holds_its_share_and_the_heads(in_bfloat16: Divided, case: str) -> None:
    policy, teacher = shape(in_bfloat16.policy), shape(in_bfloat16.teacher)
    beside = teacher if case == "forward_kl" else policy
    # float32 weights, gradients and two moments of the half; the frozen half in bfloat16; its head, gathered, too
    share = (4 + 4 + 8) * policy.parameters // 2 + 2 * beside.parameters // 2 + 2 * beside.embedding
    # the policy's head is let go after each backward pass
    task = TrainingTask(
        policy=policy, loss="divergence", micro_batch=1, tokens=1,
        teacher=teacher if case == "forward_kl" else None, reference=case == "grpo",
    )  # fmt: skip
    estimate = trainer_parts(task, Placement(precision_bytes=2, sharding="fsdp2", processes=2))
    for seen in in_bfloat16.seen(case):
        assert seen["bytes"] == pytest.approx(share, rel=0.03)
        assert seen["bytes"] < resident(estimate)


@pytest.mark.parametrize("case", CASES)
def test_one_process_reads_the_weights_and_hands_out_shares(in_bfloat16: Divided, case: str) -> None:
    assert [seen["models_read"] for seen in in_bfloat16.seen(case)] == [2, 0]


@pytest.mark.parametrize("case", CASES)
def test_a_tied_head_is_pushed_and_published_once(in_float32: Divided, case: str) -> None:
    held = set(load_file(in_float32.policy / "model.safetensors"))
    assert "lm_head.weight" not in held
    assert set(load_file(in_float32.folder / f"{case}-published" / "model.safetensors")) == held
    for seen in in_float32.seen(case):
        assert sorted(seen["pushed"]) == sorted(held)


def test_two_processes_measure_what_one_measures(in_float32: Divided) -> None:
    folder = in_float32.folder / "work-measured" / "output"
    rows = [json.loads(line) for line in (folder / "rollouts.jsonl").read_text().splitlines()]
    assert len(rows) == MEASURED and len({row["problem_id"] for row in rows}) == MEASURED
    whole = rollout_distances(
        load_model(in_float32.policy),
        load_model(in_float32.teacher),
        [(row["prompt_ids"], row["completion_ids"]) for row in rows],
        top_k=16,
    )
    for row, one in zip(rows, whole, strict=True):
        assert row["reverse_kl"] == pytest.approx(one.reverse_kl, rel=1e-4)
        assert row["forward_kl"] == pytest.approx(one.forward_kl, rel=1e-4)
        assert row["tokens"] == one.tokens
    measured = json.loads((in_float32.folder / "measured.json").read_text())
    assert measured["tokens"] == sum(one.tokens for one in whole)


def test_memory_of_an_unread_model_is_never_touched(tmp_path: Path) -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from reasoning_pipeline.training.sharding import _unread

    # 50 M parameters, 200 MB; no weights are in the folder
    config = Qwen3Config(
        vocab_size=4096, hidden_size=1024, intermediate_size=4096, num_hidden_layers=3, num_attention_heads=8,
        num_key_value_heads=8, head_dim=128, tie_word_embeddings=True,
    )  # fmt: skip
    config.architectures = ["Qwen3ForCausalLM"]
    config.save_pretrained(tmp_path)
    before = resident_bytes()
    model = _unread(tmp_path, torch.float32)
    assert sum(p.numel() for p in model.parameters()) > 50e6
    assert resident_bytes() - before < 20e6
    assert model.lm_head.weight is model.model.embed_tokens.weight
    small = make_model(tmp_path / "small", seed=1, hidden=64, tied=True)
    read, unread = Qwen3ForCausalLM.from_pretrained(small), _unread(small, torch.float32)
    assert [(n, p.shape, p.dtype) for n, p in read.named_parameters()] == [
        (n, p.shape, p.dtype) for n, p in unread.named_parameters()
    ]
    for name, buffer in read.named_buffers():
        assert torch.equal(buffer, unread.get_buffer(name)), "nobody sends buffers"


def test_a_model_on_another_device_or_whole_is_refused(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from reasoning_pipeline.training.sharding import check_placement

    model = load_model(make_model(tmp_path, seed=1, hidden=64, tied=True))
    here = SimpleNamespace(device=torch.device("cpu"), is_fsdp2=False, num_processes=1)
    check_placement({"teacher": model}, here)
    with pytest.raises(PipelineError, match="the teacher's weights are on cpu, the trainer computes on cuda:0"):
        check_placement({"teacher": model}, SimpleNamespace(**{**vars(here), "device": torch.device("cuda:0")}))
    with pytest.raises(PipelineError, match="the teacher is not divided layer by layer over 2 processes"):
        check_placement({"teacher": model}, SimpleNamespace(**{**vars(here), "is_fsdp2": True, "num_processes": 2}))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def shape(folder: Path) -> ModelShape:
    found = shape_of_config(json.loads((folder / "config.json").read_text()))
    assert found is not None
    return found
