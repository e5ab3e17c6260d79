"""How far student and teacher agree on the likeliest tokens, looked at beside TRL's divergence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from reasoning_pipeline.training.tiled_logits import top_k_overlap  # noqa: E402


def by_hand(student_NV: torch.Tensor, teacher_NV: torch.Tensor, k: int) -> list[float]:
    shares = []
    for student_V, teacher_V in zip(student_NV, teacher_NV, strict=True):
        best = [set(logits_V.argsort(descending=True)[:k].tolist()) for logits_V in (student_V, teacher_V)]
        shares.append(len(best[0] & best[1]) / k)
    return shares


@pytest.mark.parametrize("top_k", [1, 3, 20])
def test_it_is_that_of_whole_logits_tile_by_tile(top_k: int) -> None:
    torch.manual_seed(0)
    ours_NH, theirs_NH, ours_VH, theirs_VH = (torch.randn(*shape) for shape in ((7, 4), (7, 6), (11, 4), (11, 6)))
    bias_V = torch.randn(11)
    found_N = top_k_overlap(ours_NH, ours_VH, bias_V, theirs_NH, theirs_VH, None, top_k=top_k, tile_elements=25)
    expected = by_hand(ours_NH @ ours_VH.T + bias_V, theirs_NH @ theirs_VH.T, min(top_k, 11))
    assert found_N.tolist() == pytest.approx(expected)


@pytest.fixture
def trainer(tiny_model: Path, other_model: Path, tmp_path: Path) -> Any:
    from datasets import Dataset

    from reasoning_pipeline.models.loading import load_model, load_tokenizer
    from reasoning_pipeline.training.trl_bridge.distillation import CachedRolloutsTrainer, DistillationConfig

    return CachedRolloutsTrainer(
        model=load_model(tiny_model),
        teacher_model=load_model(other_model),
        args=DistillationConfig(bf16=False, output_dir=str(tmp_path), use_cpu=True, report_to=[], max_steps=9),
        train_dataset=Dataset.from_list([{"prompt": ""}]),
        processing_class=load_tokenizer(tiny_model),
    )


@pytest.mark.slow
def test_trl_s_loss_is_the_same_whether_it_is_looked_at_or_not_and_padding_is_left_out(trainer: Any) -> None:
    generator = torch.Generator().manual_seed(5)
    prompt, completion = (torch.randint(3, 90, (3, width), generator=generator) for width in (4, 6))
    mask = torch.ones_like(completion)
    mask[1, 4:] = 0
    mask[2, 1:] = 0  # padding in the middle of the flattened tokens
    batch = {
        "prompt_ids": prompt,
        "prompt_mask": torch.ones_like(prompt),
        "completion_ids": completion,
        "completion_mask": mask,
    }
    trainer.state.global_step = 1
    unseen = trainer.compute_loss(trainer.model, batch)
    assert trainer._overlap is None, "the second step is none of those that are looked at"
    trainer.state.global_step = 4
    seen = trainer.compute_loss(trainer.model, batch)
    assert torch.equal(seen, unseen)
    with torch.no_grad():
        ids = torch.cat([prompt, completion], dim=1)
        attention = torch.cat([torch.ones_like(prompt), mask], dim=1)
        logits = [
            model.eval()(input_ids=ids, attention_mask=attention).logits[:, 3:-1][mask.bool()]
            for model in (trainer.model, trainer.teacher_model)
        ]
    expected = by_hand(*logits, trainer.overlap_top_k)
    total, tokens = trainer._overlap.tolist()
    assert (total, tokens) == (pytest.approx(sum(expected)), mask.sum())
