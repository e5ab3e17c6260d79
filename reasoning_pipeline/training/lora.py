"""Low-rank adapters: how a step gets them, and how what it learned becomes a plain model again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.rollouts.weights.gathering import whole_tensors

if TYPE_CHECKING:
    from peft import LoraConfig

    from reasoning_pipeline.recipe.fields import Optimization


def adapters(config: Optimization) -> LoraConfig | None:
    """What TRL's trainers take as `peft_config`; None where all weights are trained.

    PEFT draws the adapters' first matrices from torch's global generator, and processes that shard the model would each
    keep their own: so the generator is seeded here, alike on every process and in every run.
    """
    if config.lora is None:
        return None
    from peft import LoraConfig
    from transformers import set_seed

    set_seed(getattr(config, "seed", None) or 0)
    return LoraConfig(
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,  # type: ignore[arg-type] # PEFT divides it by the rank; a float is as good
        lora_dropout=config.lora.dropout,
        target_modules=list(config.lora.targets),
        task_type="CAUSAL_LM",
    )


def save_whole_model(trainer: Any, output: Path) -> None:
    """The trainer's model as a plain checkpoint, whatever it trains in: adapters are merged and shards gathered as the
    weight push does it. Collective."""
    model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
    adapted = hasattr(model, "peft_config")
    if not adapted and not trainer.is_deepspeed_enabled and not trainer.is_fsdp_enabled:
        trainer.save_model(str(output))
        return
    # DeepSpeed and FSDP2 save a tied head a second time, as a tensor that a single process does not publish.
    main = trainer.accelerator.is_main_process
    # Every process gathers; only the first keeps what it sees, on the CPU.
    tensors = {name: tensor.cpu().clone() for name, tensor in whole_tensors(model, masters=True) if main}
    if not main:
        return
    from huggingface_hub import save_torch_state_dict

    base = model.get_base_model() if adapted else model
    base.config.save_pretrained(output)
    if base.can_generate():
        base.generation_config.save_pretrained(output)
    save_torch_state_dict(tensors, output)
