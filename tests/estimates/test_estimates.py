"""What a plan says a step takes: parameters as published, states and work by hand, refusals that name the knob."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.__main__ import main
from reasoning_pipeline.commands.plan_details import parts_line
from reasoning_pipeline.data.unread import SketchedPools
from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.estimates.fitting import ENOUGH_TOKENS, PASS_MARGIN, sized_passes
from reasoning_pipeline.estimates.hours import OptimizerStep, seconds_around
from reasoning_pipeline.estimates.layout import GIB, sharding
from reasoning_pipeline.estimates.lengths import Lengths
from reasoning_pipeline.estimates.memory import (
    TILE_TOKENS,
    TILE_WORDS,
    Placement,
    TrainingTask,
    server_memory,
    trainer_parts,
)
from reasoning_pipeline.estimates.shapes import ModelShape, hub_shape, lora_parameters, shape_of_config
from reasoning_pipeline.estimates.steps import (
    StepEstimate,
    check_fit,
    estimate_plan,
    refuse_what_cannot_fit,
    what_cannot_fit,
)
from reasoning_pipeline.estimates.tasks import work_of
from reasoning_pipeline.estimates.work import Decoder, forward_flops, training_flops
from reasoning_pipeline.hardware.profile import PROFILES_FOLDER, HardwareProfile, load_profile
from reasoning_pipeline.plan.graph import Plan
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.fields import Lora
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.recipe.work import Work
from tests.bench import PROJECT, Bench, python

RECIPES = PROJECT / "recipes"
LARGE = ("qwen3_1.7b_math", "qwen3_1.7b_from_14b", "llama3_8b_from_70b", "qwen3_0.6b_quickstart")
MADE_FOR = {
    "one_gpu_80gb": "qwen3_0.6b_quickstart",
    "node_8x80gb": "qwen3_1.7b_math",
    "node_8x141gb": "qwen3_1.7b_from_14b",
    "two_nodes": "qwen3_1.7b_math",
    "llama_70b": "llama3_8b_from_70b",
    "two_gpus_80gb": "qwen3_8b_user_logs",
}


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which nothing was downloaded."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub" / "hub"))
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)


def known(name: str) -> ModelShape:
    shape = hub_shape(name)
    assert shape is not None
    return shape


def sketched(recipe: str, root: Path, *overrides: str) -> Plan:
    read = load_recipe(RECIPES / f"{recipe}.yaml", overrides)
    return make_plan(read, root, (), SketchedPools)


def by_step(plan: Plan, profile: HardwareProfile, mean: int | None = None) -> dict[str, StepEstimate]:
    return {estimate.step: estimate for estimate in estimate_plan(plan, profile, mean)}


# Shapes


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("Qwen/Qwen3-0.6B", 596_049_920),
        ("Qwen/Qwen3-1.7B", 1_720_574_976),
        ("Qwen/Qwen3-4B", 4_022_468_096),
        ("Qwen/Qwen3-8B", 8_190_735_360),
        ("Qwen/Qwen3-14B", 14_768_307_200),
        ("meta-llama/Llama-3.1-8B-Instruct", 8_030_261_248),
        ("meta-llama/Llama-3.3-70B-Instruct", 70_553_706_496),
    ],
)
def test_known_models_have_the_parameters_that_their_makers_publish(name: str, published: int):
    assert known(name).parameters == published


def test_keys_and_values_of_one_token():
    # Qwen3-8B: 36 layers x (keys and values) x 8 heads x 128 x 2 bytes
    assert known("Qwen/Qwen3-8B").kv_bytes_per_token(2) == 2 * 36 * 8 * 128 * 2


def test_a_mixture_of_experts_is_not_described():
    assert shape_of_config({"model_type": "qwen3_moe", "vocab_size": 8}) is None


def test_a_model_of_nobody_knows_where_is_not_estimated():
    assert hub_shape("somebody/something") is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["qwen3", "llama", "qwen2"])
def test_counts_are_those_of_the_library(kind: str):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    fields = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = AutoConfig.for_model(
        kind, **fields, num_key_value_heads=2, head_dim=12, vocab_size=64, tie_word_embeddings=kind == "qwen2"
    )
    shape = shape_of_config(config.to_dict())
    assert shape is not None
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert shape.parameters == model.num_parameters()
    lora = Lora(rank=4, targets=("q_proj", "v_proj", "down_proj"))
    adapted = get_peft_model(model, LoraConfig(r=lora.rank, target_modules=list(lora.targets)))
    assert lora_parameters(shape, lora) == sum(p.numel() for p in adapted.parameters() if p.requires_grad)


# Memory


QWEN = ModelShape(
    vocabulary=64, hidden=96, layers=3, heads=4, kv_heads=2, head_dim=40, intermediate=176, tied=True, qk_norm=True
)


def parts(shape: ModelShape = QWEN, **place: Any) -> dict[str, int]:
    task = TrainingTask(policy=shape, loss="divergence", micro_batch=1, tokens=8)
    return trainer_parts(task, Placement(**place))


@pytest.mark.parametrize(
    ("place", "weights", "gradients", "optimizer"),
    [
        ({}, 4, 4, 8),
        ({"precision_bytes": 2}, 4 + 2, 4, 8),  # the float32 masters and the copy that is computed with
        ({"sharding": "ddp", "processes": 4}, 4, 4 + 4, 8),  # and the buckets that are exchanged
    ],
)
def test_states_of_a_whole_model_in_bytes_a_parameter(place, weights, gradients, optimizer):
    n, found = QWEN.parameters, parts(**place)
    assert (found["weights"], found["gradients"], found["optimizer"]) == (weights * n, gradients * n, optimizer * n)


def test_sharding_divides_the_states():
    whole = {"precision_bytes": 2, "processes": 4}
    optimizer = {kind: parts(sharding=kind, **whole)["optimizer"] for kind in ("ddp", "zero2", "zero3", "fsdp2")}
    n = QWEN.parameters
    assert optimizer == {"ddp": 8 * n, "zero2": 2 * n, "zero3": 2 * n, "fsdp2": 2 * n}
    big = known("Qwen/Qwen3-8B")
    weights = {kind: parts(big, sharding=kind, **whole)["weights"] for kind in ("ddp", "zero2", "zero3", "fsdp2")}
    # fsdp2: a quarter of the float32 weights; gathered, two layers and the head that the loss reads
    assert weights["fsdp2"] == big.parameters + 2 * (2 * big.layer_parameters + big.embedding)
    assert weights["fsdp2"] < weights["zero3"] < weights["zero2"] < weights["ddp"]


def test_fsdp2_sums_gradients_in_float32_piece_by_piece():
    big = known("Qwen/Qwen3-8B")
    found = parts(big, sharding="fsdp2", processes=4, precision_bytes=2)["gradients"]
    # a quarter of the sums; of the largest piece, the head, what the pass left and the same in float32
    assert found == big.parameters + (2 + 4) * big.embedding


def test_a_divided_reference_is_held_in_the_precision_of_its_passes():
    task = TrainingTask(
        policy=known("Qwen/Qwen3-8B"), loss="log_probabilities", micro_batch=1, tokens=8, reference=True
    )
    shape = task.policy

    def reference(**place: Any) -> int:
        return trainer_parts(task, Placement(precision_bytes=2, **place))["reference"]

    assert reference() == 4 * shape.parameters
    gathered = 2 * shape.layer_parameters + shape.embedding  # two layers at a time, and the head
    assert reference(sharding="fsdp2", processes=4) == 2 * shape.parameters // 4 + 2 * gathered


def test_lora_needs_no_gradients_and_moments_of_the_base():
    task = TrainingTask(policy=QWEN, loss="divergence", micro_batch=1, tokens=8, lora_parameters=1000)
    found = trainer_parts(task, Placement())
    assert (found["weights"], found["gradients"]) == (4 * (QWEN.parameters + 1000), 4 * 1000)
    assert found["optimizer"] == 8 * 1000


def test_checkpointing_keeps_one_hidden_state_a_layer():
    rows = 1000
    shallow = ModelShape(**{**vars(QWEN), "layers": 1})

    def kept(shape: ModelShape, checkpointing: bool) -> int:
        task = TrainingTask(policy=shape, loss="divergence", micro_batch=1, tokens=rows)
        return trainer_parts(task, Placement(checkpointing=checkpointing))["activations"]

    assert kept(QWEN, True) - kept(shallow, True) == 2 * rows * 4 * QWEN.hidden
    # six hidden states, 4 q + 4 k (two of each are the normalised heads'), 4 f; four bytes each
    assert kept(QWEN, False) - kept(shallow, False) == 2 * rows * 4 * (6 * 96 + 4 * 160 + 4 * 80 + 4 * 176)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
@pytest.mark.parametrize("mixed", [False, True])
def test_activations_are_those_that_autograd_keeps(kind: str, mixed: bool):
    """Bytes a token that a third layer adds to the tensors saved for the backward pass."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokens, place, kept = 72, Placement(precision_bytes=2 if mixed else 4), {}  # 72: no weight is that long
    for layers in (2, 3):
        config = AutoConfig.for_model(
            kind, vocab_size=64, hidden_size=96, intermediate_size=176, num_hidden_layers=layers,
            num_attention_heads=4, num_key_value_heads=2, head_dim=40, tie_word_embeddings=True,
        )  # fmt: skip
        shape = shape_of_config(config.to_dict())
        assert shape is not None
        model = AutoModelForCausalLM.from_config(config)
        weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        # Low-precision copies of weights are states, not activations; their shapes tell them apart.
        matrices = {tuple(p.shape) for p in model.parameters()} | {tuple(p.t().shape) for p in model.parameters()}
        saved: dict[int, torch.Tensor] = {}

        def note(tensor, saved=saved, weights=weights, matrices=matrices):
            storage = tensor.untyped_storage().data_ptr()
            if storage not in weights and tuple(tensor.shape) not in matrices:
                saved[storage] = tensor
            return tensor

        with (
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
            torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed),
        ):
            model.model(torch.zeros(1, tokens, dtype=torch.long))
        kept[layers] = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
        task = TrainingTask(policy=shape, loss="divergence", micro_batch=1, tokens=tokens)
        kept[-layers] = trainer_parts(task, place)["activations"]
    measured, estimated = kept[3] - kept[2], kept[-3] - kept[-2]
    # The estimate leaves out a few numbers a token and head (norms' scales, attention's normalisers).
    assert 0.98 * measured <= estimated <= measured


@pytest.mark.slow
def test_tiles_are_trls():
    from trl.kernels import chunked_divergence
    from trl.trainer import utils

    assert chunked_divergence.TOKEN_CHUNK_SIZE == TILE_TOKENS
    assert chunked_divergence.VOCAB_CHUNK_SIZE == utils._CHUNKED_LOGPROB_CHUNK_SIZE == TILE_WORDS


@pytest.mark.slow
def test_the_estimate_is_near_what_a_training_step_takes():
    # about a minute for all cases: `python -m benchmarks.memory`
    from benchmarks.memory import CASES, HIGH, LOW, estimate, in_child

    case = "distillation-states"
    measured = in_child(case, "cpu", "float32")
    assert LOW <= sum(estimate(CASES[case], "cpu", "float32").values()) / measured <= HIGH


def test_a_server_divides_weights_and_heads_over_its_devices():
    shape = known("meta-llama/Llama-3.3-70B-Instruct")
    alone, four = (server_memory(shape, share=126 * GIB, precision_bytes=2, tensor_parallel=n) for n in (1, 4))
    assert alone.tokens == 0 and alone.kv_cache < 0  # 131 GiB of weights
    assert four.weights == alone.weights // 4 and four.kv_bytes_per_token == alone.kv_bytes_per_token // 4
    assert four.tokens > 1_000_000


# Work


def test_work_is_two_four_and_six_for_every_parameter_and_token():
    shape, tokens = known("Qwen/Qwen3-1.7B"), 1e6
    n = shape.parameters - shape.layers * (2 * 2048 + 2 * 128) - 2048  # norms multiply nothing; tied: the head counts
    assert forward_flops(shape, tokens, 0) == pytest.approx(2 * n * tokens, rel=1e-3)
    assert training_flops(shape, tokens, 0, checkpointing=False) == pytest.approx(6 * n * tokens, rel=1e-3)
    assert training_flops(shape, tokens, 0, checkpointing=True) == pytest.approx(8 * n * tokens, rel=1e-3)
    # 28 layers x 16 heads x 128 x 2 operations x 2 products, half of 1,000 positions
    assert forward_flops(shape, 1, 1000) - forward_flops(shape, 1, 0) == 28 * 2048 * 4 * 1000 / 2


def decoder_of(shape: Any, *, flops: float) -> Decoder:
    return Decoder(
        shape=shape, replicas=1, tensor_parallel=1, precision_bytes=2, cache_tokens=10**9, max_sequences=10**6,
        bandwidth_gbs=1000, flops=flops,
    )  # fmt: skip


def test_decoding_reads_the_weights_once_a_step():
    shape = known("Qwen/Qwen3-1.7B")
    decoder = decoder_of(shape, flops=1e18)
    # One rollout of 1,000 tokens: the weights a thousand times, at 60 % of 1,000 GB/s; its keys and values are few.
    alike = Lengths(1000, 1000)
    alone = decoder.seconds(1, alike, 0)
    assert alone == pytest.approx(1000 * 2 * shape.parameters / 6e11, rel=0.05)
    many = decoder.seconds(64, alike, 0)
    assert many < 64 * alone / 20
    tail = decoder.seconds(64, Lengths(1000, 8000), 0)  # the last of them runs to the limit
    assert 7000 * 2 * shape.parameters / 6e11 < tail - alone < 8000 * 2 * shape.parameters / 6e11 * 1.5
    assert replace(decoder, replicas=4).seconds(64, alike, 0) < many


def test_a_decoding_step_is_bound_by_reading_computing_or_its_latency():
    shape = known("Qwen/Qwen3-1.7B")
    decoder = decoder_of(shape, flops=1e14)
    assert decoder.step_seconds(1, 0) == pytest.approx(2 * shape.parameters / 6e11)
    assert decoder.step_seconds(10_000, 0) == pytest.approx(10_000 * 2 * shape.matrix_parameters / 1e14)
    assert replace(decoder, bandwidth_gbs=10**6).step_seconds(1, 0) == pytest.approx(28 * 9e-5)


@pytest.mark.parametrize(("mean", "limit"), [(4096, 16_384), (1500, 8192), (100, 16_384), (9000, 16_384)])
def test_lengths_have_the_mean_asked_for_and_a_tail_at_the_limit(mean: float, limit: float):
    lengths = Lengths(mean, limit)
    drawn = lengths.of(20_000)
    assert sum(drawn) / len(drawn) == pytest.approx(mean, rel=0.01)
    assert list(drawn) == sorted(drawn) and drawn[-1] == limit and drawn[len(drawn) // 2] < mean
    assert sum(length == limit for length in drawn) / len(drawn) >= 0.9 * lengths.at_limit > 0
    assert lengths.attended(0) > mean, "a token stands in a long row more often than in a short one"
    assert set(Lengths(limit, limit).of(5)) == {limit}


def test_rows_as_few_as_processes_leave_some_of_those_waiting():
    lengths = Lengths(4096, 16_384)
    assert lengths.imbalance(1024, 8, 200) < 0.001
    assert lengths.imbalance(8, 8, 200) > 1


def test_a_step_that_writes_ahead_takes_the_longer_of_the_two():
    apart = OptimizerStep(generating=30, training=20, pushing=2)
    assert (apart.seconds, replace(apart, ahead=True).seconds, apart.bound_by) == (52, 32, "generation")


def test_starting_resume_points_and_publishing_are_in_a_steps_time():
    shape = known("Qwen/Qwen3-1.7B")
    work = Work(trains=True, steps=100, save_every=10)
    alone = seconds_around(Work(), shape, starts_server=False)
    # Ten resume points of 12 bytes a parameter and weights of 4, at a GB a second: 213 s
    found = seconds_around(work, shape, starts_server=True) - alone
    assert found == pytest.approx(120 + 124 * shape.parameters / 1e9)


# Plans


def test_tokens_and_steps_of_a_recipe_by_hand(tmp_path: Path):
    found = by_step(sketched("qwen3_1.7b_math", tmp_path), load_profile("node_8x80gb"), mean=2000)
    # Stage 1: 3 epochs of 8,699 labels in steps of 128 x 8 rollouts: 203 whole steps
    assert found["teacher_rl"].tokens_written == 203 * 1024 * 2000
    assert found["teacher_rl"].tokens_trained == 203 * 1024 * 2200
    # Stage 2a: 8,699 x 8 rollouts in steps of 64: 1,087 steps; nothing is written
    assert (found["warmup"].tokens_written, found["warmup"].tokens_trained) == (0, 1087 * 64 * 2200)
    assert found["teacher_rollouts"].tokens_written == 8699 * 8 * 2000
    assert found["polish.evaluate"].tokens_written == (500 + 30 + 30) * 16 * 2000
    assert found["polish"].disk == 4 * 1_720_574_976


def test_longer_completions_take_longer_and_more_trainers_less(tmp_path: Path):
    plan, node = sketched("qwen3_1.7b_math", tmp_path), load_profile("node_8x80gb")
    hours = [by_step(plan, node, mean)["distill"].hours for mean in (1000, 4000)]
    more = by_step(plan, node.model_copy(update={"processes": 8}), 4000)
    assert hours[0] < hours[1] <= more["distill"].hours * 1.01, "written ahead, and the writing takes longer"
    assert more["warmup"].hours < by_step(plan, node, 4000)["warmup"].hours, "where nothing is written"


def test_a_device_that_is_too_small_is_refused_with_the_number_and_the_knob(tmp_path: Path):
    plan = sketched("qwen3_1.7b_math", tmp_path).of_arms(["direct"])
    profile = load_profile("one_gpu_80gb").model_copy(update={"micro_batch": 8})
    estimates = estimate_plan(plan, profile)
    with pytest.raises(RecipeError) as error:
        refuse_what_cannot_fit(estimates, profile)
    assert error.value.exit_status == 2
    (problem,) = error.value.problems
    total = sum(estimates[0].trainer.values()) / GIB
    assert problem.startswith(
        f"direct.grpo: a trainer device would hold {total:.1f} GiB and has 78.6 (a layer at work "
    )
    assert problem.endswith("): micro_batch: 1 makes it fit")
    with pytest.raises(RecipeError):
        check_fit(plan, profile, list(plan.steps))  # what `run` asks before it starts anything
    check_fit(plan, profile, [plan.step("direct.grpo.evaluate")])
    check_fit(plan, profile.model_copy(update={"micro_batch": 1}), list(plan.steps))
    check_fit(plan, profile.model_copy(update={"device_memory_gib": None}), list(plan.steps))


def test_a_model_that_no_knob_makes_fit_wants_more_devices(tmp_path: Path):
    plan = sketched("llama3_8b_from_70b", tmp_path).of_arms(["main"])
    found = what_cannot_fit(estimate_plan(plan, load_profile("one_gpu_80gb")))
    assert any("teacher_rl: a trainer device would hold" in p and "more devices (processes)" in p for p in found)
    assert any("a server device needs" in p and "raise server.tensor_parallel" in p for p in found)


def test_sharing_a_device_without_sleep_leaves_the_trainer_the_rest(tmp_path: Path):
    plan, profile = sketched("qwen3_0.6b_quickstart", tmp_path), load_profile("one_gpu_80gb")
    awake = profile.model_copy(update={"server": profile.server.model_copy(update={"sleep": False})})
    assert what_cannot_fit(estimate_plan(plan, profile)) == []
    assert what_cannot_fit(estimate_plan(plan, awake)) == []  # 40 of 48 GiB
    greedy = awake.model_copy(update={"server": awake.server.model_copy(update={"gpu_memory_utilization": 0.6})})
    assert "has 31.8" in what_cannot_fit(estimate_plan(plan, greedy))[0]  # 40 % of 79.6


def test_a_batch_that_does_not_divide_is_among_the_problems(tmp_path: Path):
    profile = load_profile("node_8x80gb").model_copy(update={"micro_batch": 3})
    found = what_cannot_fit(estimate_plan(sketched("qwen3_1.7b_math", tmp_path), profile))
    assert any("micro_batch: 3 does not divide the 256 rollouts of one process" in problem for problem in found)


def test_lora_on_the_step_makes_a_large_teacher_fit_one_device(tmp_path: Path):
    overrides = ["steps.teacher_rl.policy=Qwen/Qwen3-8B", "steps.teacher_rl.lora={rank: 32}"]
    profile = load_profile("one_gpu_80gb")
    # 46 GiB of weights stay beside the server: 32-bit masters, which nothing updates, and the 16-bit copy
    profile = profile.model_copy(update={"server": profile.server.model_copy(update={"gpu_memory_utilization": 0.3})})
    whole, adapted = (
        by_step(sketched("qwen3_0.6b_quickstart", tmp_path, *some), profile)["teacher_rl"]
        for some in (overrides[:1], overrides)
    )
    assert whole.problems and whole.trainer_bytes > 130 * GIB
    assert not adapted.problems and adapted.trainer["optimizer"] < GIB


def test_models_made_by_the_recipe_are_estimated_too(bench: Bench):
    found = by_step(bench.plan(), load_profile("cpu"))
    # 64 wide, 2 layers, vocabulary 112, MLP 192: embedding, attention + MLP + norms a layer, last norm
    parameters = 112 * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 192 + 2 * 64 + 2 * 32) + 64
    assert found["teacher_rl"].disk == 4 * parameters
    assert found["teacher_base"].trainer == {} and found["teacher_rl"].hours is None


@pytest.mark.parametrize("profile", MADE_FOR)
def test_a_profile_says_its_memory_arithmetic(profile: str, tmp_path: Path):
    recipe = MADE_FOR[profile]
    text = (PROFILES_FOLDER / f"{profile}.yaml").read_text()
    assert f"# GiB at their fullest, as `plan recipes/{recipe}.yaml` estimates them" in text
    stated = dict(re.findall(r"^#   ([\w.]+) +trainer device (.*)$", text, flags=re.MULTILINE))
    estimates = estimate_plan(sketched(recipe, tmp_path).of_arms(["main"]), load_profile(profile))
    assert stated == {estimate.step: parts_line(estimate) for estimate in estimates if estimate.trainer}
    assert what_cannot_fit(estimates) == []


def test_sharding_is_read_from_the_accelerate_configuration():
    found = {
        name: sharding(HardwareProfile(processes=2, accelerate_config=f"{name}.yaml"))
        for name in ("ddp", "fsdp2", "zero2", "zero3")
    }
    assert found == {name: name for name in found}
    assert sharding(HardwareProfile()) == "none"


def test_a_measurement_of_two_models_has_memory_and_hours_and_is_refused_where_both_are_whole(tmp_path: Path):
    plan, profile = sketched("llama3_8b_from_70b", tmp_path).of_arms(["main"]), load_profile("llama_70b")
    divided = by_step(plan, profile)["warmup.c2"]
    student, teacher = known("meta-llama/Llama-3.1-8B-Instruct"), known("meta-llama/Llama-3.3-70B-Instruct")
    gathered = 2 * teacher.layer_parameters + teacher.embedding
    assert divided.trainer["teacher"] == 2 * teacher.parameters // 16 + 2 * gathered
    assert (
        divided.hours
        and divided.hours > 0
        and divided.flops > 2 * 256 * 200 * (student.parameters + teacher.parameters)
    )
    whole = by_step(plan, profile.model_copy(update={"accelerate_config": "ddp.yaml"}))["warmup.c2"]
    assert "a device that compares two models would hold" in whole.problems[0]  # 147 GiB of weights alone


# The size of passes


def test_the_plan_gives_passes_the_tokens_that_there_is_room_for(tmp_path: Path):
    plan, profile = sketched("qwen3_1.7b_math", tmp_path).of_arms(["main"]), load_profile("node_8x80gb")
    assert (profile.micro_batch, profile.tokens_per_micro_batch) == (None, None)
    step = plan.step("teacher_rl")
    sized = sized_passes(plan, step, profile)
    tokens = sized.tokens_per_micro_batch
    assert tokens is not None and tokens == by_step(plan, profile)["teacher_rl"].tokens_per_pass
    longest = step.config.max_prompt_tokens + step.config.max_completion_tokens
    assert longest <= tokens <= ENOUGH_TOKENS
    room = profile.device_memory_gib * (1 - PASS_MARGIN)
    assert by_step(plan, sized)["teacher_rl"].trainer_bytes / GIB <= room
    more = profile.model_copy(update={"tokens_per_micro_batch": tokens + 1024})
    assert by_step(plan, more)["teacher_rl"].trainer_bytes / GIB > room, "and no thousand more"
    assert step.fingerprint == sketched("qwen3_1.7b_math", tmp_path).step("teacher_rl").fingerprint


def test_what_a_profile_says_of_passes_is_left_as_it_is(tmp_path: Path):
    plan, profile = sketched("qwen3_1.7b_math", tmp_path), load_profile("node_8x80gb")
    for update in ({"micro_batch": 2}, {"tokens_per_micro_batch": 20_000}, {"device_memory_gib": None}):
        said = profile.model_copy(update=update)
        assert sized_passes(plan, plan.step("distill"), said) is said
    assert sized_passes(plan, plan.step("teacher_rollouts"), profile) is profile, "nothing is trained"


# Recipes without their data


def test_what_the_paper_leaves_open_is_an_arm_in_its_other_reading(tmp_path: Path):
    plan = sketched("qwen3_1.7b_math", tmp_path)
    step = {
        name: plan.step(name) for name in ("warmup", "distill", "batch_of_prompts.warmup", "batch_of_prompts.distill")
    }
    rows = {name: work.rows for name, one in step.items() if (work := work_of(plan, one)) is not None}
    # 64 rollouts, or 64 prompts with 8 rollouts each
    assert rows == {"warmup": 64, "distill": 64, "batch_of_prompts.warmup": 512, "batch_of_prompts.distill": 512}
    assert step["batch_of_prompts.warmup"].input("teacher").step == "teacher_rl", "one teacher for both"
    losses = {
        name: plan.step(name).config.loss for name in ("teacher_rl", "token_mean.teacher_rl", "token_mean.polish")
    }  # type: ignore[attr-defined]
    assert losses == {"teacher_rl": "grpo", "token_mean.teacher_rl": "dapo", "token_mean.polish": "dapo"}


@pytest.mark.parametrize("recipe", LARGE)
def test_large_recipes_plan_without_network_and_say_so(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "160")
    made_for = next(profile for profile, name in MADE_FOR.items() if name == recipe)
    path = str(RECIPES / f"{recipe}.yaml")
    assert main(["plan", path, "--hardware", made_for, "--root", str(tmp_path), "--arm", "main"]) == 0
    out = capsys.readouterr().out
    assert "data.dapo was not read: open-r1/DAPO-Math-17k-Processed is not in this machine's cache" in out
    assert f"→ python -m launch prefetch {path}" in out
    assert " one after the other on" in out


def test_planning_with_an_estimate_stays_light(tmp_path: Path):
    program = (
        "import sys; from reasoning_pipeline.__main__ import main; "
        f"main(['plan', {str(RECIPES / 'qwen3_1.7b_math.yaml')!r}, '--hardware', 'node_8x80gb', '--root', "
        f"{str(tmp_path)!r}]); print([m for m in ('torch', 'transformers', 'datasets', 'vllm') if m in sys.modules])"
    )
    assert python("-c", program).stdout.endswith("[]\n")


def test_what_was_not_read_is_never_complete(tmp_path: Path):
    first, again = (sketched("qwen3_0.6b_quickstart", tmp_path, *o) for o in ([], ["data.dapo.count=1024"]))
    assert first.step("teacher_rl").spends[0].labels == 2048 and again.step("teacher_rl").spends[0].labels == 683
    assert not any(step.complete for step in first.steps)


def stand_in(folder: Path, count: int) -> list[str]:
    path = folder / "dapo.jsonl"
    rows = [{"prompt": f"What is {n} + {n * 7 % 13}, and why?", "solution": str(n + n * 7 % 13)} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["data.dapo.source=jsonl", f"data.dapo.path={path}"]


@pytest.mark.parametrize("recipe", LARGE)
def test_with_its_data_a_recipe_counts_the_problems_themselves(recipe: str, tmp_path: Path):
    plan = sketched(recipe, tmp_path, *stand_in(tmp_path, 600))
    assert sum(len(plan.ledger.pool(pool)) for pool in ("first", "second")) == 600


@pytest.mark.skipif("REASONING_DATA" not in os.environ, reason="REASONING_DATA names a folder with math_train.jsonl")
def test_with_real_problems_and_benchmarks(tmp_path: Path):
    folder = Path(os.environ["REASONING_DATA"])
    overrides = ["data.dapo.source=jsonl", f"data.dapo.path={folder / 'math_train.jsonl'}"]
    overrides += ["data.dapo.columns={question: problem, answer: answer}", "data.dapo.unusable_answers=set_aside"]
    overrides += [f"evaluate.data.{s}={folder / f}.jsonl" for s, f in (("math500", "math500"), ("aime24", "aime24"))]
    plan = sketched("qwen3_1.7b_math", tmp_path, *overrides)
    assert 7000 < sum(len(plan.ledger.pool(pool)) for pool in ("first", "second")) < 7500  # MATH-500's are left out
