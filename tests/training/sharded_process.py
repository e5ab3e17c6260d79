"""One of the processes that divide a trainer's models (FSDP2, tests/fsdp2), saying what it saw.

Started as `python -m tests.training.sharded_process JOB.json` behind a profile's launcher. Each case trains two steps;
gradients of the first go to FOLDER/CASE.pt, what this process held goes to FOLDER/CASE-RANK.json.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import TrainerCallback

from reasoning_pipeline.data import arithmetic
from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.rollouts.weights.gathering import described
from reasoning_pipeline.run.context import StageContext
from reasoning_pipeline.training import distance, in_passes
from reasoning_pipeline.training.lora import save_whole_model
from reasoning_pipeline.workflows.reasoning.stages import forward_kl_warmup, measure_divergence, sparse_grpo

PROBLEMS, GROUP, KL = 4, 4, 0.04
MEASURED, LENGTHS = 7, {"max_prompt_tokens": 64, "max_completion_tokens": 12}
NOISE = 0.02
"""How far the policy is moved from the start before the first step, so that a KL penalty has a gradient."""


class Witness(TrainerCallback):
    """Looks between the passes of the second step, when moments exist, and at the gradients of the first."""

    def __init__(self, trainer: Any, case: str, folder: Path) -> None:
        self.trainer, self.case, self.folder = trainer, case, folder
        self.seen: dict[str, Any] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for name in ("model_wrapped", "teacher_model", "ref_model"):
            model = getattr(self.trainer, name, None)
            if model is not None:
                divided = [hasattr(parameter, "full_tensor") for parameter in model.parameters()]
                pieces = sum(hasattr(module, "unshard") for module in model.modules())
                self.seen[name] = {"divided": all(divided), "pieces": pieces}

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 1 and "bytes" not in self.seen:
            whole, dtypes = whole_gradients(self.trainer.model_wrapped), set()
            for parameter in self.trainer.model_wrapped.parameters():
                if parameter.grad is not None:
                    dtypes.add(str(parameter.grad.dtype))
            self.seen |= {"whole_gradients": whole, "gradient_types": sorted(dtypes), "bytes": live_bytes()}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step > 0:
            return
        model = self.trainer.accelerator.unwrap_model(self.trainer.model_wrapped)
        gradients = {}
        for name, parameter in model.named_parameters():
            gradient = parameter.grad
            whole = gradient.full_tensor() if hasattr(gradient, "full_tensor") else gradient
            gradients[name] = whole.float().clone()
        if self.trainer.accelerator.is_main_process:
            torch.save(gradients, self.folder / f"{self.case}.pt")


def whole_gradients(model: Any) -> int:
    """Gradients of whole parameters that FSDP2 holds."""
    found = 0
    for module in model.modules():
        if hasattr(module, "_get_fsdp_state"):
            state = module._get_fsdp_state()
            groups = getattr(state, "_fsdp_param_groups", None) or [state._fsdp_param_group]
            for parameter in (one for group in groups if group is not None for one in group.fsdp_params):
                whole = getattr(parameter, "_unsharded_param", None)
                found += parameter.unsharded_accumulated_grad is not None or getattr(whole, "grad", None) is not None
    return found


def live_bytes() -> int:
    """Of all tensors that this process holds."""
    gc.collect()
    storages = {}
    for tensor in (one for one in gc.get_objects() if isinstance(one, torch.Tensor)):
        for part in local_parts(tensor):
            storages[part.untyped_storage().data_ptr()] = part.untyped_storage().nbytes()
    return sum(storages.values())


def local_parts(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    for one in (tensor, tensor.grad if tensor.is_leaf else None):
        if one is not None and one.device.type == "cpu":
            yield one.to_local() if hasattr(one, "to_local") else one


def trainer_of(case: str, job: dict[str, Any], work: Path) -> Any:
    rows = [json.loads(line) for line in (Path(job["rollouts"]) / "rollouts.jsonl").read_text().splitlines()]
    common = {"policy": "p", "seed": 3, "steps": 2, "learning_rate": 1e-3, "save_every": 50}
    config: Any
    if case == "forward_kl":
        config = forward_kl_warmup.Config(teacher="t", rollouts="r", rollouts_per_step=len(rows), **common)
        problems = 0
    else:
        config = sparse_grpo.Config(
            spends="x", problems_per_step=PROBLEMS, group_size=GROUP, kl_coefficient=KL, loss="dapo",
            max_completion_tokens=48, max_prompt_tokens=64, **common,
        )  # fmt: skip
        problems = PROBLEMS
    profile = HardwareProfile.model_validate(job["profile"])
    if case == "grpo":  # what is written here is scripted, so that nobody asks how
        profile = profile.model_copy(update={"engine": "transformers"})
    context = StageContext(
        config=config,
        label="test-step",
        problems=arithmetic.problems("pool", problems),
        inputs={name: Path(job[name]) for name in ("policy", "teacher", "rollouts")},
        prompt=PromptConfig(),
        profile=profile,
        work=work,
    )
    if case == "forward_kl":
        return forward_kl_warmup.make_trainer(config, context)
    from reasoning_pipeline.workflows.reasoning.grpo import grpo_trainer

    trainer: Any = grpo_trainer(config, context)
    trainer.vllm_generation = Scripted(rows)
    torch.manual_seed(99)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.add_(NOISE * torch.randn(parameter.shape))
    return trainer


def measure(job: dict[str, Any], work: Path) -> dict[str, Any]:
    """C2 of policy and teacher, in passes of a few rollouts each."""
    distance.PASS_TOKENS = 128
    work.mkdir(exist_ok=True)
    context = StageContext(
        config=(config := measure_divergence.Config(policy="p", teacher="t", prompts="x", seed=3, **LENGTHS)),
        label="test-step",
        problems=arithmetic.problems("pool", MEASURED),
        inputs={name: Path(job[name]) for name in ("policy", "teacher")},
        prompt=PromptConfig(),
        profile=HardwareProfile.model_validate(job["profile"]).model_copy(update={"engine": "transformers"}),
        work=work,
    )
    return measure_divergence.run(config, context).result


class Scripted:
    """Writes each prompt's rollouts in their order."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def sync_weights(self) -> None: ...

    def generate(self, prompts: list[list[int]], images: Any, num_generations: int, profiler: Any) -> Any:
        asked: dict[tuple[int, ...], int] = {}
        written = []
        for prompt in prompts:
            of_prompt = [row["completion_ids"] for row in self.rows if row["prompt_ids"] == prompt]
            number = asked[tuple(prompt)] = asked.get(tuple(prompt), -1) + 1
            written.append(of_prompt[number % len(of_prompt)])
        return prompts, written, [[[0.0]] * len(one) for one in written], None


def count_reads() -> list[str]:
    """Grows by a folder with each model that this process reads from now on."""
    read, from_pretrained = [], transformers.PreTrainedModel.from_pretrained.__func__  # type: ignore[attr-defined]

    def counting(kind: Any, folder: Any, *arguments: Any, **options: Any) -> Any:
        read.append(str(folder))
        return from_pretrained(kind, folder, *arguments, **options)

    transformers.PreTrainedModel.from_pretrained = classmethod(counting)  # type: ignore[method-assign, assignment]
    return read


def leave_the_second_process_without_rows() -> None:
    """In the first pass of every step; what it would have computed goes into a pass of its own at the end."""
    divided = in_passes.divide

    def divide(*given: Any, **options: Any) -> Any:
        division = divided(*given, **options)
        (first, second), *others = division.passes
        return replace(division, passes=[[first, []], *others, [second, []]])

    in_passes.divide = divide


def main(job: dict[str, Any]) -> None:
    if job["uneven"]:
        leave_the_second_process_without_rows()
    folder, read = Path(job["folder"]), count_reads()
    for case in job["cases"]:
        read.clear()
        trainer = trainer_of(case, job, folder / f"work-{case}")
        trainer.args.max_grad_norm = 0  # gradients are compared as they are
        witness = Witness(trainer, case, folder)
        trainer.add_callback(witness)
        trainer.train()
        save_whole_model(trainer, folder / f"{case}-published")
        model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
        witness.seen["pushed"] = [info.name for info in described(model)]
        rank = int(os.environ.get("RANK", "0"))
        witness.seen["models_read"] = len(read)
        (folder / f"{case}-{rank}.json").write_text(json.dumps(witness.seen))
        del trainer, witness, model
        gc.collect()
    read.clear()
    measured = measure(job, folder / "work-measured")
    if measured:
        (folder / "measured.json").write_text(json.dumps(measured))
    elif read:
        raise AssertionError(f"only the first process reads: {read}")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
