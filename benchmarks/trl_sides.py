"""The two sides that benchmarks/against_trl.py compares: models, rows, and a trainer of either, its rollouts given."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks.shared import random_model

VOCABULARY, HIDDEN, LAYERS = 32_768, 384, 10
LIMIT, MEDIAN, SIGMA, AT_LIMIT = 1024, 128, 0.8, 0.03
GROUP, ROWS_A_PASS, EQUAL, LONGEST_PROMPT = 4, 4, (32, 224), 64


def models(folder: Path) -> None:
    import torch

    if (folder / "teacher").is_dir():
        return
    for name in ("policy", "teacher"):
        model = random_model(
            folder / name, vocabulary=VOCABULARY, hidden=HIDDEN, layers=LAYERS, heads=6, kv_heads=3, head_dim=64,
            max_position_embeddings=2 * LIMIT,
        )  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder / "teacher")


def rows(count: int, equal: bool) -> list[tuple[list[int], list[int]]]:
    """(prompt ids, completion ids); groups of GROUP share a prompt."""
    import numpy as np

    draw = np.random.default_rng(7)
    lengths = np.minimum(draw.lognormal(np.log(MEDIAN), SIGMA, count), LIMIT).astype(int).clip(4)
    lengths[draw.permutation(count)[: max(1, round(AT_LIMIT * count))]] = LIMIT
    prompts = draw.lognormal(np.log(40), 0.4, count // GROUP).astype(int).clip(8, LONGEST_PROMPT)
    if equal:
        prompts[:], lengths[:] = EQUAL
    ids = [draw.integers(5, VOCABULARY, size).tolist() for size in prompts]
    return [(ids[row // GROUP], draw.integers(5, VOCABULARY, lengths[row]).tolist()) for row in range(count)]


def make_trainer(
    method: str, side: str, folder: Path, given: list[tuple[list[int], list[int]]], arguments: argparse.Namespace
) -> Any:
    import trl
    from datasets import Dataset

    from reasoning_pipeline.models.loading import load_model, load_tokenizer

    ours = side == "ours"
    bridged = ours or arguments.bridged
    if bridged:  # the bridge puts parts of its own in TRL's places, which TRL alone must not have
        from reasoning_pipeline.training.passes import Limit
        from reasoning_pipeline.training.trl_bridge.distillation import CachedRolloutsTrainer, OnPolicyTrainer
        from reasoning_pipeline.training.trl_bridge.policy import PolicyTrainer

    count = len(given)
    common: dict[str, Any] = {
        "output_dir": str(folder / "work"), "max_steps": 1, "learning_rate": 1e-6, "save_strategy": "no",
        "report_to": [],
        "logging_steps": 1, "use_cpu": True, "bf16": False, "gradient_checkpointing": False, "disable_tqdm": True,
        "per_device_train_batch_size": count if ours else ROWS_A_PASS,
        "gradient_accumulation_steps": 1 if ours else count // ROWS_A_PASS,
    }  # fmt: skip
    options: dict[str, Any] = {
        "model": load_model(folder / "policy"),
        "processing_class": load_tokenizer(folder / "policy"),
    }
    if method == "grpo":
        trainer: Any = (PolicyTrainer if ours else trl.GRPOTrainer)(
            **options,
            args=trl.GRPOConfig(
                **common, num_generations=GROUP, max_completion_length=LIMIT, beta=0.0, shuffle_dataset=False,
                temperature=1.0, top_p=1.0, top_k=0, vllm_importance_sampling_correction=True,
                vllm_importance_sampling_mode="token_truncate", vllm_importance_sampling_clip_max=2.0,
            ),
            train_dataset=Dataset.from_list([{"prompt": str(row)} for row in range(0, count, GROUP)]),
            reward_funcs=every_other,
        )  # fmt: skip
    elif method == "on_policy_distillation":
        trainer = (OnPolicyTrainer if ours else trl.DistillationTrainer)(
            **options,
            teacher_model=load_model(folder / "teacher"),
            args=trl.DistillationConfig(
                **common, max_completion_length=LIMIT, beta=1.0, temperature=1.0, shuffle_dataset=False
            ),
            train_dataset=Dataset.from_list([{"prompt": str(row)} for row in range(count)]),
        )
        if ours:
            trainer.overlap_every = None  # TRL has no such figure
    elif ours:
        trainer = CachedRolloutsTrainer(
            **options,
            teacher_model=load_model(folder / "teacher"),
            args=trl.DistillationConfig(**common, beta=0.0, temperature=1.0, shuffle_dataset=False),
            train_dataset=Dataset.from_list(
                [{"prompt": "", "prompt_ids": prompt, "completion_ids": completion} for prompt, completion in given]
            ),
        )
        trainer.overlap_every = None
    else:
        from trl.experimental.gkd import GKDConfig, GKDTrainer

        trainer = GKDTrainer(
            **options,
            teacher_model=load_model(folder / "teacher"),
            args=GKDConfig(**common, lmbda=0.0, beta=0.0, temperature=1.0, max_length=2 * LIMIT),
            train_dataset=Dataset.from_list(
                [
                    {
                        "prompt": "",
                        "input_ids": prompt + completion,
                        "completion_mask": [0] * len(prompt) + [1] * len(completion),
                    }
                    for prompt, completion in given
                ]
            ),
        )
    if not bridged and any(name.startswith("reasoning_pipeline.training") for name in sys.modules):
        raise RuntimeError("TRL's side is not TRL alone: something has imported the trainers of this project")
    if ours:
        trainer.limit = Limit(tokens=arguments.tokens)
    if method != "forward_kl_warmup":
        trainer.use_vllm, trainer.vllm_generation, trainer._last_loaded_step = True, Written(given), -1
        trainer._tokenize_prompts = lambda prompts: ([given[int(prompt)][0] for prompt in prompts], None, {})
    return trainer


def every_other(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Half of each group: every row has a gradient, and both sides compute all of them."""
    return [float(number % 2) for number in range(len(completion_ids))]


class Written:
    """Stands where TRL keeps its vLLM object: the rollouts are there."""

    def __init__(self, given: list[tuple[list[int], list[int]]]) -> None:
        self.given = given

    def sync_weights(self) -> None: ...

    def generate(self, prompts: list[list[int]], *_: Any, **__: Any) -> Any:
        completions = [completion for _, completion in self.given]
        return prompts, completions, [[[-10.4]] * len(ids) for ids in completions], None
