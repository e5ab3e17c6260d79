"""How big a model is: its dimensions, from config.json, from a table of well-known hub models, or from a recipe.

The weights are not read; a hub model need not be on this machine.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.models.outside import outside_folder
from reasoning_pipeline.recipe.fields import Architecture

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan, PlannedStep
    from reasoning_pipeline.recipe.fields import Lora

HUB_SHAPES = Path(__file__).with_name("hub_shapes.yaml")
VOCABULARY_ROUNDED_TO = 16


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """Dimensions of a dense decoder with grouped-query attention and a gated MLP (Llama, Qwen2, Qwen3).

    Example:
        ModelShape(vocabulary=151936, hidden=2048, layers=28, heads=16, kv_heads=8, head_dim=128, intermediate=6144,
                   tied=True, qk_norm=True)     # Qwen3-1.7B: 1,720,574,976 parameters
    """

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    tied: bool
    """Input and output embeddings are one matrix."""
    qk_norm: bool = False
    """Queries and keys are normalised per head (Qwen3)."""
    qkv_bias: bool = False
    """Query, key and value projections have biases (Qwen2)."""

    @property
    def query_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def embedding(self) -> int:
        """Parameters of one embedding matrix."""
        return self.vocabulary * self.hidden

    @property
    def layer_parameters(self) -> int:
        """Of one decoder layer: four attention projections, three of the MLP, and the norms."""
        attention = 2 * self.hidden * (self.query_width + self.kv_width)
        biases = (self.query_width + 2 * self.kv_width) * self.qkv_bias
        norms = 2 * self.hidden + 2 * self.head_dim * self.qk_norm
        return attention + biases + 3 * self.hidden * self.intermediate + norms

    @property
    def parameters(self) -> int:
        """All of them; tied embeddings count once. Equal to `model.num_parameters()`."""
        return self.embedding * (1 if self.tied else 2) + self.layers * self.layer_parameters + self.hidden

    @property
    def matrix_parameters(self) -> int:
        """Those that every token is multiplied with: all but the embedding that is only looked up."""
        return self.embedding + self.layers * self.layer_parameters

    def kv_bytes_per_token(self, bytes_per_value: int) -> int:
        """Keys and values of one token in all layers.

        Example: Qwen3-8B in bfloat16: 2 x 36 layers x 8 heads x 128 x 2 bytes = 147,456.
        """
        return 2 * self.layers * self.kv_width * bytes_per_value


def lora_parameters(shape: ModelShape, lora: Lora) -> int:
    """Trainable parameters of the adapters: rank x (inputs + outputs) of every layer that has one.

    Example: rank 32 on all linear layers of Qwen3-1.7B: 34,865,152, 2 % of the model.
    """
    h, f = shape.hidden, shape.intermediate
    sides = {
        "q_proj": h + shape.query_width,
        "k_proj": h + shape.kv_width,
        "v_proj": h + shape.kv_width,
        "o_proj": shape.query_width + h,
        "gate_proj": h + f,
        "up_proj": h + f,
        "down_proj": f + h,
    }
    return shape.layers * lora.rank * sum(sides.get(target, h + f) for target in lora.targets)


def shape_of_input(plan: Plan, step: PlannedStep, field: str) -> ModelShape | None:
    """The shape of the model that a step reads; None where it is not known without the hub.

    Training keeps a policy's shape, so inputs are followed to where the model comes from; on the way it may have been
    cut.
    """
    shape, layers = _shape_it_came_from(plan, step, field)
    return shape if shape is None or layers is None else replace(shape, layers=layers)


def _shape_it_came_from(plan: Plan, step: PlannedStep, field: str) -> tuple[ModelShape | None, int | None]:
    """Of the model that training began with, and how many layers the last cut left of it."""
    entry, layers = step.input(field), None
    while entry.step is not None:
        parent = plan.step(entry.step)
        layers = layers or getattr(parent.config, "layers", None)
        before = next((known for known in parent.inputs if known.field == "policy"), None)
        if before is None:
            size = getattr(parent.config, "architecture", None)
            made = made_shape(size, parent.config.vocabulary()) if isinstance(size, Architecture) else None
            return made, layers
        entry = before
    if entry.artifact is not None:
        return shape_of_folder(plan.registry.folder / entry.artifact), layers
    folder = outside_folder(entry.reference, plan.recipe.folder)
    shape = shape_of_folder(folder) if folder is not None else hub_shape(plan.pins.model(entry.reference))
    return shape, layers


def shape_of_folder(folder: Path) -> ModelShape | None:
    path = folder / "config.json"
    return shape_of_config(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def shape_of_config(config: dict[str, Any]) -> ModelShape | None:
    """From a config.json; None for architectures that this arithmetic does not describe (mixtures of experts, …)."""
    config = config.get("text_config", config)
    if config.get("model_type") not in ("qwen2", "qwen3", "llama", "mistral"):
        return None
    heads = config["num_attention_heads"]
    return ModelShape(
        vocabulary=config["vocab_size"],
        hidden=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        intermediate=config["intermediate_size"],
        tied=bool(config.get("tie_word_embeddings", False)),
        qk_norm=config["model_type"] == "qwen3",
        qkv_bias=config["model_type"] == "qwen2",
    )


def made_shape(size: Architecture, vocabulary: dict[str, Any] | None) -> ModelShape | None:
    """Of a model that a step makes from nothing: its config has an `architecture` and tells its `vocabulary_size`."""
    if vocabulary is None or "vocabulary_size" not in vocabulary:
        return None
    return ModelShape(
        vocabulary=-(-vocabulary["vocabulary_size"] // VOCABULARY_ROUNDED_TO) * VOCABULARY_ROUNDED_TO,
        hidden=size.hidden_size,
        layers=size.layers,
        heads=size.heads,
        kv_heads=size.heads,
        head_dim=size.head_dim,
        intermediate=3 * size.hidden_size,
        tied=True,
        qk_norm=True,
    )


def hub_shape(reference: str) -> ModelShape | None:
    """From the table that ships, else from the hub's cache on this machine."""
    name, _, revision = reference.partition("@")
    known = _hub_table().get(name)
    if known is not None:
        return known
    from huggingface_hub import try_to_load_from_cache

    try:
        path = try_to_load_from_cache(name, "config.json", revision=revision or None)
    except ValueError:  # not a name that the hub could have
        return None
    return shape_of_config(json.loads(Path(path).read_text(encoding="utf-8"))) if isinstance(path, str) else None


@cache
def _hub_table() -> dict[str, ModelShape]:
    rows = yaml.safe_load(HUB_SHAPES.read_text(encoding="utf-8"))
    try:
        return {name: ModelShape(**row) for name, row in rows.items()}
    except TypeError as error:
        raise PipelineError(f"{HUB_SHAPES.name}: {error}", remedy="each row has the fields of ModelShape") from error
