"""Scaled rotary frequencies: which settings trainer and server read alike, and up to which length."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.models.architecture import bounded_length, positions
from reasoning_pipeline.models.rope import rope_problem
from reasoning_pipeline.plan.compatibility import check_models
from tests.bench import Bench
from tests.doctor.test_doctor import short
from tests.models.folders import copied, edit

HALF = 16
SHORT, LONG = [1 + n / 10 for n in range(HALF)], [2.0 + n for n in range(HALF)]
ORIGINAL = {"original_max_position_embeddings": 64}
MODEL = {"model_type": "llama", "head_dim": 2 * HALF, "max_position_embeddings": 256}
LONGROPE = {"rope_type": "longrope", "short_factor": SHORT, "long_factor": LONG, **ORIGINAL}
YARN = {"rope_type": "yarn", "factor": 4.0, **ORIGINAL}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, **ORIGINAL}

ALIKE: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "factor": 4.0},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0},
    "yarn": YARN,
    "yarn by its old name, whole": {"type": "yarn", "factor": 4, **ORIGINAL},
    "yarn with all settings": {**YARN, "mscale": 0.7, "mscale_all_dim": 1.0, "beta_fast": 16, "truncate": False},
    "yarn, attention": {**YARN, "attention_factor": 1.3},
    "llama3": LLAMA3,
    "longrope": LONGROPE,
    "longrope with its factor": {**LONGROPE, "factor": 4.0},
}
UNLIKE: dict[str, tuple[dict[str, Any], str]] = {
    "a whole number": ({"rope_type": "linear", "factor": 4}, "factor is 4, which the server takes for a list"),
    "below one": ({"rope_type": "linear", "factor": 0.5}, "factor is 0.5"),
    "in words": ({"rope_type": "linear", "factor": "4"}, "factor is '4'"),
    "no factor": ({"rope_type": "dynamic"}, "dynamic without factor"),
    "null": ({**YARN, "factor": None}, "yarn without factor"),
    "a null that is multiplied": ({**YARN, "beta_fast": None}, "beta_fast is None"),
    "alpha": ({"rope_type": "dynamic", "factor": 2.0, "alpha": 1000.0}, "alpha is heeded by the server alone"),
    "trained": ({"rope_type": "dynamic", "factor": 2.0, "max_trained_positions": 64}, "max_trained_positions is"),
    "guessed": ({"rope_type": "yarn", "factor": 4.0}, "yarn without original_max_position_embeddings"),
    "half of llama3": ({k: v for k, v in LLAMA3.items() if k[:3] != "low"}, "llama3 without low_freq_factor"),
    "one list": ({**LONGROPE, "long_factor": None}, "longrope without long_factor"),
    "short lists": ({**LONGROPE, "short_factor": [1.0], "long_factor": [1.0]}, "has 1 numbers, a head turns by 16"),
    "attention": ({**LONGROPE, "attention_factor": 1.5}, "the trainer multiplies by 1.5 (attention_factor, factor)"),
    "another factor": ({**LONGROPE, "factor": 32.0}, "the trainer multiplies by 1.35401 (attention_factor, factor)"),
    "mscale": ({**LONGROPE, "short_mscale": 1.5}, "the server by 1.5 (short_mscale, max_position_embeddings)"),
    "of no known kind": ({"rope_type": "ntk", "factor": 4.0}, "rope_type 'ntk' is none that trainer"),
    "the older word": ({**LONGROPE, "rope_type": "su"}, "rope_type 'su' is none"),
    "no word": ({"rope_type": ["yarn"], "factor": 4.0}, "rope_type is ['yarn']"),
    "two kinds": ({"rope_type": "linear", "type": "yarn", "factor": 4.0}, "names two kinds, rope_type 'linear' and"),
    "no kind": ({"factor": 4.0}, "has a factor and no rope_type"),
}  # fmt: skip


@pytest.mark.parametrize("case", ALIKE)
def test_settings_that_both_read_alike_are_let_through(case: str):
    assert rope_problem({**MODEL, "rope_scaling": ALIKE[case]}) is None


@pytest.mark.parametrize("case", UNLIKE)
def test_settings_that_they_read_differently_are_refused(case: str):
    settings, sentence = UNLIKE[case]
    for name in ("rope_scaling", "rope_parameters"):
        found = rope_problem({**MODEL, name: settings})
        assert found is not None and found[0].startswith(name) and sentence in found[0] and found[1]


def test_layers_may_have_settings_each_and_chunks_are_refused():
    layers = {"sliding_attention": {"rope_type": "default"}, "full_attention": {"rope_type": "linear", "factor": 8}}
    found = rope_problem({**MODEL, "rope_parameters": layers})
    assert found is not None and found[0].startswith("rope_parameters.full_attention: factor is 8")
    found = rope_problem({**MODEL, "dual_chunk_attention_config": {"chunk_size": 64}})
    assert found is not None and "the server attends in chunks" in found[0]


@pytest.mark.parametrize(
    ("settings", "most"),
    [(LONGROPE, 64), ({**YARN, "factor": 3.9}, 249), (YARN, 256), (ALIKE["dynamic"], 256), (ALIKE["linear"], 256)],
    ids=["longrope", "yarn that ends early", "yarn", "dynamic", "linear"],
)
def test_positions_end_where_frequencies_change(settings: dict[str, Any], most: int, tmp_path: Path):
    # 3.9 x 64 = 249.6: the server has no frequencies beyond
    (tmp_path / "config.json").write_text(json.dumps({**MODEL, "rope_scaling": settings}))
    assert positions(tmp_path) == most
    assert bounded_length(tmp_path, 200) == min(most, 200), (
        "a server must not be asked for more: it then chooses others"
    )


def test_a_plan_refuses_rows_that_would_choose_other_frequencies(bench: Bench, tmp_path: Path, tiny_model: Path):
    folder = copied(tiny_model, tmp_path / "model")

    def change(recipe: dict[str, Any]) -> None:
        short(recipe)
        recipe["steps"]["teacher_rl"].update(policy=str(folder), max_completion_tokens=40)

    check_models(bench.plan(change))
    edit(folder / "config.json", lambda c: c.update(rope_parameters={**LONGROPE, "rope_theta": 10000.0}))
    said = (
        r"teacher_rl may write rows of 72 tokens, model has 64 positions "
        r"\(rope_parameters: longrope, frequencies change beyond them\)"
    )
    with pytest.raises(IncompatibleModels, match=said):
        check_models(bench.plan(change))


def test_rows_that_a_model_only_reads_must_fit_too(bench: Bench):
    check_models(bench.plan())
    with pytest.raises(IncompatibleModels, match=r"warmup may read rows of .* tokens, student_base has 256 positions"):
        check_models(
            bench.plan(
                lambda r: r["steps"]["student_base"].update(architecture={"max_positions": 256}),
                lambda r: r["steps"]["rollouts"].update(max_prompt_tokens=128, max_completion_tokens=256),
                lambda r: r["steps"]["distill"].update(max_prompt_tokens=16, max_completion_tokens=16),
                lambda r: r["steps"]["polish"].update(max_prompt_tokens=16, max_completion_tokens=16),
            )
        )


@pytest.mark.slow
def test_below_those_lengths_a_row_reads_the_same_alone_and_beside_others(tiny_model: Path):
    """And beyond them it does not: why longrope ends at the length that it was stretched from."""
    import torch
    from transformers import AutoConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    def of_a_short_row(settings: dict[str, Any], beside: int) -> torch.Tensor:
        """Cosines of 8 positions that share a call with a row of so many tokens, as rows laid end to end do."""
        config = AutoConfig.for_model(**MODEL, hidden_size=64, num_attention_heads=2, rope_scaling=dict(settings))
        at = torch.tensor([[*range(8), *range(beside)]])
        cosines: torch.Tensor = LlamaRotaryEmbedding(config)(torch.zeros(1), at)[0]
        return cosines[0, :8]

    for settings, most in ((LONGROPE, 64), (ALIKE["dynamic"], 256), (YARN, 256)):
        assert torch.equal(of_a_short_row(settings, 1), of_a_short_row(settings, most))
    for settings, most in ((LONGROPE, 64), (ALIKE["dynamic"], 256)):
        assert not torch.equal(of_a_short_row(settings, 1), of_a_short_row(settings, most + 1))


SERVERS = """
import json, sys, types
import torch
from transformers import AutoConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.model_executor.layers.rotary_embedding import get_rope, phi3_long_rope_scaled_rope
from vllm.transformers_utils.config import patch_rope_parameters
model, cases = json.loads(sys.argv[1])
for name, settings in cases.items():
    config = AutoConfig.for_model(**model, hidden_size=64, num_attention_heads=2, rope_scaling=settings)
    positions = 64 if name.startswith("longrope") else 256
    at = torch.arange(positions)[None]
    ours = torch.cat([part[0, :, :16] for part in LlamaRotaryEmbedding(config)(torch.zeros(1), at)], -1)
    patch_rope_parameters(config)
    served = types.SimpleNamespace(model_config=types.SimpleNamespace(max_model_len=positions))
    phi3_long_rope_scaled_rope.get_current_vllm_config = lambda served=served: served
    with set_current_vllm_config(VllmConfig()):
        rope = get_rope(32, config.max_position_embeddings, rope_parameters=config.rope_parameters, dtype=torch.float32)
    table = rope.long_short_cos_sin_cache if hasattr(rope, "long_short_cos_sin_cache") else rope.cos_sin_cache
    assert torch.equal(ours, table[:positions]), name
"""


@pytest.mark.slow
def test_the_servers_own_tables_are_the_trainers():
    cases = json.dumps([MODEL, ALIKE])
    done = subprocess.run([sys.executable, "-c", SERVERS, cases], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
