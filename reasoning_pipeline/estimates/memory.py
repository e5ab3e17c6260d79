"""What one device must hold at its fullest: trainer parts and server parts, in bytes.

Master weights are float32 with AdamW: 4 + 4 + 8 bytes a parameter for weights, gradients and the two moments
(Rajbhandari et al., arXiv 1910.02054, section 3). In bfloat16 the matrix products run on a copy of 2 bytes a parameter.
Activations are counted tensor by tensor as PyTorch's autograd keeps them for these architectures (in the manner of
Korthikanti et al., arXiv 2205.05198); no attention matrix is kept, the kernels recompute it (Dao et al., arXiv
2205.14135). `python -m benchmarks.memory` holds these figures against measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reasoning_pipeline.estimates.shapes import ModelShape

Sharding = Literal["none", "ddp", "fsdp2", "zero2", "zero3"]
Loss = Literal["divergence", "log_probabilities"]

TILE_TOKENS, TILE_WORDS = 4096, 32768
"""TRL's tiles: logits exist for this many tokens and words at a time (trl/kernels)."""

CPU_TILE_TOKENS, CPU_TILE_WORDS = 2048, 2048
"""The same on CPUs, where training/trl_bridge/trainer.py makes them so small that they stay in a cache."""

TORCH_TILES = 7
"""Without Triton, TRL computes the same tile in plain PyTorch: this many float32 copies of it exist at once."""

CPU_DIVERGENCE_LOGITS = 2**22
"""Of each model, that a divergence on CPUs makes at once (training/exact_divergence.py): 16 MiB in float32."""

GATHERED_LAYERS = 2
"""FSDP2 holds the layer it computes and, prefetched, the next one."""

ZERO_LIVE_PARAMETERS = 1_000_000_000
"""DeepSpeed's `stage3_max_live_parameters`: how much of a sharded model ZeRO-3 keeps gathered."""

ZERO_BUCKET = 500_000_000
"""DeepSpeed's `reduce_bucket_size` and `allgather_bucket_size`, in parameters."""

COMPARED_TOKENS, COMPARED_TILE = 2**14, 2**25
"""Tokens of a pass and logits of a tile where two models are compared (training/distance.py)."""

COMPARED_COPIES = 8
"""float32 values for each logit of such a tile: both models' logits and log-probabilities, their gap, two products, and
what marks the likeliest words."""

GPU_RESERVE = int(2.0 * 2**30)
"""CUDA context, NCCL buffers, and what the allocator loses to fragmentation."""

SERVER_RESERVE = int(3.0 * 2**30)
"""vLLM's activations of one scheduler step and its captured CUDA graphs."""


@dataclass(frozen=True, kw_only=True)
class TrainingTask:
    """What is trained, as far as memory depends on it."""

    policy: ModelShape
    loss: Loss
    micro_batch: int
    """Rows of one forward and backward pass on one device."""
    tokens: int
    """Prompt and completion of the longest row; with `micro_batch` 1, of all rows of a pass."""
    teacher: ModelShape | None = None
    """Frozen, in the trainer's memory; None where there is none or it lives elsewhere."""
    reference: bool = False
    """A frozen copy of the start for the KL penalty (none under LoRA: the adapter is switched off instead)."""
    lora_parameters: int | None = None
    """Trainable parameters of the adapters; None trains all."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How it is laid out."""

    precision_bytes: int = 4
    """Bytes a value of the forward and backward pass: 4 or 2."""
    checkpointing: bool = False
    sharding: Sharding = "none"
    processes: int = 1
    gpu: bool = False

    @property
    def mixed(self) -> bool:
        return self.precision_bytes < 4

    @property
    def shards(self) -> int:
        """Processes over which frozen models and parameters are divided."""
        return self.processes if self.sharding in ("fsdp2", "zero3") else 1


def trainer_parts(task: TrainingTask, place: Placement) -> dict[str, int]:
    """Bytes of each part of one trainer device while the backward pass is at its fullest.

    Example: Qwen3-1.7B alone in bfloat16 holds 1.72e9 x (4 + 4 + 8 + 2) bytes = 28.8 GiB besides activations.
    """
    parts = _states(task, place)
    parts["activations"] = _kept_activations(task, place)
    # The backward pass begins at the head and then goes through the layers: the two are never at work together.
    head, layer = _at_the_head(task, place), _in_a_layer(task, place)
    parts["logits tiles" if head > layer else "a layer at work"] = max(head, layer)
    if task.teacher is not None:
        held = _frozen(task.teacher, place)
        # Without gradients only the layer at hand and the final hidden states exist.
        rows = task.micro_batch * task.tokens
        passing = rows * (_layer_activations(task.teacher, place) + 4 * task.teacher.hidden)
        parts["teacher"] = held + passing
    if task.reference:
        # Read as the policy is, in float32; divided by FSDP2 it is held in the precision of its passes (sharding.py).
        whole = 4 * task.policy.parameters // place.shards
        parts["reference"] = _frozen(task.policy, place) if place.sharding == "fsdp2" else whole
    if place.gpu:
        parts["reserve"] = GPU_RESERVE
    return parts


def comparing_parts(policy: ModelShape, teacher: ModelShape, tokens: int, place: Placement) -> dict[str, int]:
    """Bytes of each part of a device on which two frozen models score rollouts of at most so many tokens."""
    rows = max(COMPARED_TOKENS, tokens)
    layers = max(_layer_activations(shape, place) for shape in (policy, teacher))
    parts = {
        "policy": _frozen(policy, place),
        "teacher": _frozen(teacher, place),
        "a layer at work": rows * layers,  # no gradients: one layer of one model at a time
        "hidden states": 4 * rows * (policy.hidden + teacher.hidden),
        "logits tiles": COMPARED_COPIES * 4 * COMPARED_TILE,
    }
    if place.gpu:
        parts["reserve"] = GPU_RESERVE
    return parts


def resident(parts: dict[str, int]) -> int:
    """Bytes that stay between optimizer steps, while rollouts are written: models, gradients and optimizer."""
    return sum(parts.get(name, 0) for name in ("weights", "gradients", "optimizer", "teacher", "reference", "reserve"))


def _states(task: TrainingTask, place: Placement) -> dict[str, int]:
    n, p = task.policy.parameters, place.processes
    trained = task.lora_parameters if task.lora_parameters is not None else n
    total = n + (task.lora_parameters or 0)
    if place.sharding == "zero2":
        # DeepSpeed computes on full low-precision weights and divides the float32 masters and the moments.
        return {
            "weights": total * place.precision_bytes + (4 * trained // p if place.mixed else 0),
            "gradients": 4 * trained // p + min(trained, ZERO_BUCKET) * place.precision_bytes * 2,
            "optimizer": 8 * trained // p,
        }
    if place.sharding in ("zero3", "fsdp2"):
        low = place.precision_bytes if place.mixed and place.sharding == "zero3" else 0
        # FSDP2 sums in float32 after every pass: what it sums is whole for one piece of the model, once as the backward
        # pass leaves it and once in float32. A tied head is the largest such piece.
        piece = task.policy.layer_parameters
        passing = place.precision_bytes * piece
        if place.sharding == "fsdp2":
            passing = (place.precision_bytes + 4) * min(trained, max(piece, task.policy.embedding))
        return {
            "weights": (4 + low) * total // p + _gathered(task.policy, place),
            "gradients": 4 * trained // p + passing,
            "optimizer": 8 * trained // p,
        }
    copies = 2 if place.sharding == "ddp" and p > 1 else 1  # DDP reduces gradients in buckets of their own
    return {
        "weights": 4 * total + (place.precision_bytes * total if place.mixed else 0),
        "gradients": 4 * trained * copies,
        "optimizer": 8 * trained,
    }


def _frozen(shape: ModelShape, place: Placement) -> int:
    """Bytes of a model that is not trained, in the precision in which it is computed."""
    return shape.parameters * place.precision_bytes // place.shards + _gathered(shape, place)


def _gathered(shape: ModelShape, place: Placement) -> int:
    """Bytes of a sharded model that are whole on this device at a time."""
    if place.shards == 1:
        return 0
    if place.sharding == "zero3":
        return min(shape.parameters, ZERO_LIVE_PARAMETERS) * place.precision_bytes
    # The head stays gathered from the forward pass on: the loss reads it, and so does the next pass of a frozen model.
    return (GATHERED_LAYERS * shape.layer_parameters + shape.embedding) * place.precision_bytes


def _layer_activations(shape: ModelShape, place: Placement) -> int:
    """Bytes a token that one decoder layer keeps for its backward pass.

    float32: the two norms keep their input and the normalised value (4h), attention and MLP their input (2h), queries,
    keys, values and the attention's result (2q + 2k), the MLP's four inner values (4f); heads that are normalised add
    2q + 2k. Under bfloat16 autocast the residual stream and the norms stay float32 and each of the five projections of
    a norm's output keeps a bfloat16 copy of its own.
    """
    h, q, k, f = shape.hidden, shape.query_width, shape.kv_width, shape.intermediate
    if not place.mixed:
        return 4 * (6 * h + 2 * q + 2 * k + 4 * f + (2 * q + 2 * k) * shape.qk_norm)
    low = place.precision_bytes
    return 16 * h + low * (5 * h + 2 * q + 2 * k + 4 * f) + (4 + low) * (q + k) * shape.qk_norm


def _kept_activations(task: TrainingTask, place: Placement) -> int:
    """Bytes that the forward pass leaves for the backward pass."""
    rows = task.micro_batch * task.tokens
    # With checkpointing each layer keeps only its input, the float32 residual stream.
    kept = 4 * task.policy.hidden if place.checkpointing else _layer_activations(task.policy, place)
    ends = 14 * task.policy.hidden  # embedding, final norm, and the hidden states that the loss reads
    return rows * (kept * task.policy.layers + ends)


def _in_a_layer(task: TrainingTask, place: Placement) -> int:
    """Gradients of one layer's values and, with checkpointing, the values themselves, computed again."""
    rows = task.micro_batch * task.tokens
    values = rows * _layer_activations(task.policy, place) * (2 if place.checkpointing else 1)
    return values + (_head_gradient(task) if task.policy.tied else 0)  # waits for the embedding's to be added to it


def _at_the_head(task: TrainingTask, place: Placement) -> int:
    """Tiles of logits, the gradient of the hidden states, and that of the head."""
    rows = task.micro_batch * task.tokens
    beside = rows * 2 * 4 * task.policy.hidden + _head_gradient(task)
    if task.loss == "divergence" and not place.gpu:
        # Of both models in float32, and the student's again in low precision.
        return (2 * 4 + place.precision_bytes) * min(
            rows, tokens_at_once(task.policy.vocabulary)
        ) * task.policy.vocabulary + beside
    tokens, words = (TILE_TOKENS, TILE_WORDS) if place.gpu else (CPU_TILE_TOKENS, CPU_TILE_WORDS)
    tile = min(rows, tokens) * min(task.policy.vocabulary, words)
    # The divergence keeps a float32 tile for each model and one in low precision; log-probabilities one.
    kept = 2 * 4 + place.precision_bytes if task.loss == "divergence" else place.precision_bytes
    passing = 0 if place.gpu else 4 * TORCH_TILES
    return tile * (kept + passing) + beside


def tokens_at_once(vocabulary: int) -> int:
    """Whose divergence is made together on a CPU; not so few that reading the heads takes longer than the products."""
    return max(32, CPU_DIVERGENCE_LOGITS // vocabulary)


def _head_gradient(task: TrainingTask) -> int:
    """Formed whole in float32, whatever is sharded, before it is added to the others."""
    return 4 * task.policy.embedding if task.lora_parameters is None else 0


@dataclass(frozen=True, kw_only=True)
class ServerMemory:
    """One device of a rollout server."""

    weights: int
    kv_bytes_per_token: int
    """On this device: heads are divided over the devices of one server."""
    kv_cache: int
    """Bytes that are left for keys and values; negative where not even the weights fit."""

    @property
    def tokens(self) -> int:
        """Tokens that the cache holds."""
        return max(self.kv_cache, 0) // self.kv_bytes_per_token


def server_memory(
    shape: ModelShape, *, share: int, precision_bytes: int, tensor_parallel: int, cpu_kv_cache: int | None = None
) -> ServerMemory:
    """What a server makes of its share of a device.

    Args:
        share: Bytes it may take: device memory times `gpu_memory_utilization`.
        cpu_kv_cache: CPU builds reserve the cache apart from the weights.
    """
    weights = shape.parameters * precision_bytes // tensor_parallel
    kv = shape.kv_bytes_per_token(precision_bytes) // min(tensor_parallel, shape.kv_heads)
    cache = cpu_kv_cache if cpu_kv_cache is not None else share - weights - SERVER_RESERVE
    return ServerMemory(weights=weights, kv_bytes_per_token=kv, kv_cache=cache)
