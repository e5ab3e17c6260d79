"""Makes a smaller student of a model: some of its layers are left out, all other weights stay as they are.

Left out are layers that follow one another, from `cut_from` on (arXiv 2403.17887), or without it every second or third:
those that stay are then spread evenly over the depth, the first and the last among them. Embeddings, head and tokenizer
are shared with the model that it was cut from, so the two can meet in a distillation. What comes out has to be healed
by training (`supervised_start`): layers that are left have never fed one another. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/cut_layers.yaml
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.recipe.stage import ModelRef, StageConfig

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext, StageOutcome


class Config(StageConfig):
    heavy: ClassVar[bool] = False

    stage: Literal["cut_layers"] = "cut_layers"
    policy: ModelRef
    """What is cut."""
    layers: int = Field(ge=1)
    """How many stay."""
    cut_from: int | None = Field(None, ge=0)
    """The first layer of those left out, from 0. null: those that stay are spread evenly."""


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes the smaller model."""
    from accelerate import Accelerator
    from torch.nn import ModuleList

    from reasoning_pipeline.models.description import CONFIG, carry_over, read_json
    from reasoning_pipeline.models.loading import load_model
    from reasoning_pipeline.rollouts.weights.proof import local_probe
    from reasoning_pipeline.run.context import StageOutcome

    source, folder = context.inputs["policy"], context.fresh_output()
    model: Any = load_model(source)
    decoder = model.get_decoder()
    before = len(decoder.layers)
    if config.layers >= before:
        raise PipelineError(
            f"{source.name} has {before} layers, {config.layers} are to stay", remedy="set `layers` to fewer"
        )
    kept = spread(before, config.layers) if config.cut_from is None else around(before, config.layers, config.cut_from)
    if len(kept) != config.layers:
        raise PipelineError(
            f"{source.name} has {before} layers, {before - config.layers} are to go from layer {config.cut_from} on",
            remedy=f"set `cut_from` to {config.layers} or less",
        )
    decoder.layers = ModuleList(decoder.layers[number] for number in kept)
    for number, layer in enumerate(decoder.layers):
        layer.self_attn.layer_idx = number  # its place in the cache of keys and values
    changed: dict[str, Any] = {"num_hidden_layers": config.layers}
    if kinds := getattr(model.config, "layer_types", None):
        changed["layer_types"] = [kinds[number] for number in kept]
    for name, value in changed.items():
        setattr(model.config, name, value)
    model.save_pretrained(folder)
    carry_over(source, folder)
    local_probe(model, Accelerator(cpu=context.profile.device == "cpu")).save(folder)
    described = read_json(folder / CONFIG)
    described |= {name: value for name, value in changed.items() if name in described}
    (folder / CONFIG).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    return StageOutcome(folder, {"kept_layers": kept, "parameters": model.num_parameters()})


def around(layers: int, keep: int, first: int) -> list[int]:
    """Which stay when those from `first` on go. Example: around(30, 20, 9) == [0, …, 8, 19, …, 29]."""
    return [*range(min(first, layers)), *range(first + layers - keep, layers)]


def spread(layers: int, keep: int) -> list[int]:
    """Which of so many layers stay. Example: spread(30, 4) == [0, 10, 19, 29]."""
    if keep == 1:
        return [0]
    return [round(number * (layers - 1) / (keep - 1)) for number in range(keep)]
