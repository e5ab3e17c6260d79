"""A stage on model folders as people bring them: what it publishes, and that it gets there at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.workflows.reasoning.stages import on_policy_distillation, sparse_grpo
from tests.models.folders import copied, edit, says
from tests.training.test_trl_bridge import context_for

pytestmark = pytest.mark.slow

SHORT = {"steps": 2, "learning_rate": 1e-3, "save_every": 1, "seed": 1, "max_prompt_tokens": 32,
         "max_completion_tokens": 8}  # fmt: skip


def learned(work: Path, start: Path, **fields: Any) -> Path:
    """What two steps of GRPO publish, with a resume point after each."""
    config = sparse_grpo.Config(policy="p", spends="first", problems_per_step=2, group_size=2, **SHORT, **fields)
    return sparse_grpo.run(config, context_for(config, work, {"policy": start}, problems=4)).folder


def described(folder: Path) -> dict[str, bytes]:
    ours = ("model.safetensors", "probe.json", "metrics.jsonl")
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in ours}


def without_generation(folder: Path) -> None:
    """The base model's end token in the configuration, the chat one in the tokenizer, as base models have it."""
    edit(folder / "config.json", lambda c: c.update(eos_token_id=0))


def unsavable(folder: Path) -> None:
    says(folder, eos_token_id=[2, 0], temperature=0.9, top_p=0.6, repetition_penalty=1.5)


def no_padding(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", lambda t: t.pop("pad_token"))
    edit(folder / "config.json", lambda c: c.update(pad_token_id=None))


def dropout(folder: Path) -> None:
    edit(folder / "config.json", lambda c: c.update(attention_dropout=0.5))


@pytest.mark.parametrize("change", [without_generation, unsavable, no_padding, dropout])
def test_a_start_is_trained_and_described_as_it_was(change: Any, tmp_path: Path, tiny_model: Path) -> None:
    start = copied(tiny_model, tmp_path / "start")
    change(start)
    before = described(start)
    assert json.loads(before["config.json"])["use_cache"] is True
    result = learned(tmp_path / "work", start)
    assert described(result) == before == described(start)


def test_distillation_from_itself_with_dropout_begins_at_zero(tmp_path: Path, tiny_model: Path) -> None:
    start = copied(tiny_model, tmp_path / "start")
    dropout(start)
    config = on_policy_distillation.Config(policy="p", teacher="t", prompts="first", rollouts_per_step=4, **SHORT)
    inputs = {"policy": start, "teacher": start}
    on_policy_distillation.run(config, context_for(config, tmp_path / "work", inputs, problems=4))
    first = json.loads((tmp_path / "work" / "metrics.jsonl").read_text().splitlines()[0])
    assert abs(first["kl"]) < 1e-6


def test_divergence_from_the_start_and_clipping_are_in_the_metrics(tmp_path: Path, tiny_model: Path) -> None:
    learned(tmp_path / "work", copied(tiny_model, tmp_path / "start"), kl_coefficient=0.1)
    rows = [json.loads(line) for line in (tmp_path / "work" / "metrics.jsonl").read_text().splitlines()]
    for name in ("clip_ratio", "clip_ratio_low", "clip_ratio_high"):
        assert [row[name] for row in rows] == [0, 0], "one update a batch: the ratio is one"
    for row in rows:  # groups of two answers of 0 or 1: without spread exactly where both are right or both wrong
        assert row["frac_reward_zero_std"] == row["groups_all_right"] + row["groups_all_wrong"]
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-6) and rows[1]["kl"] >= 0


def test_what_trls_own_trainer_saves_is_a_policy_and_its_result_is_a_plain_model(
    tmp_path: Path, tiny_model: Path
) -> None:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    ids = list(range(5, 21))
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_model),
        args=SFTConfig(
            output_dir=str(tmp_path / "trl"), max_steps=1, per_device_train_batch_size=2, report_to=[], use_cpu=True,
            save_steps=1, dataset_kwargs={"skip_prepare_dataset": True}, bf16=False,
        ),
        train_dataset=Dataset.from_list([{"input_ids": ids, "labels": ids}] * 2),
        processing_class=AutoTokenizer.from_pretrained(tiny_model),
    )  # fmt: skip
    trainer.train()
    trainer.save_model(str(tmp_path / "trl"))
    assert {"training_args.bin", "checkpoint-1"} <= {path.name for path in (tmp_path / "trl").iterdir()}
    result = learned(tmp_path / "work", tmp_path / "trl")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(result), AutoTokenizer.from_pretrained(result)
    asked = [{"role": "user", "content": "1+1"}]
    theirs = AutoTokenizer.from_pretrained(tmp_path / "trl")
    assert tokenizer.apply_chat_template(asked, tokenize=False) == theirs.apply_chat_template(asked, tokenize=False)
    assert model.config.num_hidden_layers == 2 and tokenizer.eos_token_id == theirs.eos_token_id
