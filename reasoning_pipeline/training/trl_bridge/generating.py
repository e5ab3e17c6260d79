"""Our engine in the place of TRL's vLLM, and prompts as data/prompts.py renders them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.rollouts.engine import TrainerEngine


class RenderedPrompts:
    """Takes prompts that data/prompts.py has rendered; adds no special token."""

    renderer: PromptRenderer

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        encoded = self.renderer.tokenizer.encode_batch(prompts, add_special_tokens=False)
        return [entry.ids for entry in encoded], None, {}


def generate_with(trainer: Any, engine: TrainerEngine, renderer: PromptRenderer) -> Any:
    """Put our engine where TRL keeps its vLLM object; the loop finds it as `engine`."""
    engine.trainer = trainer
    trainer.renderer = renderer
    trainer.engine = trainer.vllm_generation = engine
    trainer.use_vllm = True
    trainer._last_loaded_step = -1
    trainer.add_callback(_KeepsRolloutsAhead(engine))
    return trainer


class _KeepsRolloutsAhead(TrainerCallback):
    """What is being written for the next optimizer step goes into the resume point, and comes from there."""

    def __init__(self, engine: TrainerEngine) -> None:
        self.engine = engine

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.engine.load_ahead(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.engine.save_ahead(Path(args.output_dir) / f"checkpoint-{state.global_step}")
