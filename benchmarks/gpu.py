"""`python -m benchmarks.gpu`: what only a GPU can show, in under eight minutes: pushes, memory and speed of each stage.

Type, in a clone of the project on the machine with the GPUs (an account or a model hub is not needed):

    make setup ACCELERATOR=cuda
    (nvidia-smi; .venv/bin/python -m benchmarks.gpu) | tee gpu.txt            # one GPU
    (nvidia-smi; .venv/bin/python -m benchmarks.gpu --gpus 8) | tee gpu.txt   # eight: FSDP2 divides each step over them

    --size 0.6B      smaller models. By the estimates one GPU holds 35 GiB with 1.7B and 13 GiB with 0.6B, each of eight
                     10 and 5; 1.7B wants 7 GB of disk in $TMPDIR
    --only NAME      one part alone (may be repeated): push-nccl, push-ipc, or a stage
    --device cpu     the same in a reduced form, which shows that this script runs

Prints one table of pushes (seconds, and the number of the proof; a part that cannot run says why: NCCL takes two GPUs)
and one of steps: peak memory of a device beside the estimate of `plan`, tokens a second, and the share of the devices'
peak operations. Models are random Qwen3s, teacher and student of one size. Exit status 1 where a part failed; what that
part said is in runs/gpu-NAME.log. No figure of this is known yet: gpu.txt and those logs are what is worth keeping.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.shared import PROJECT, random_model, where
from reasoning_pipeline.hardware.environment import own_environment
from reasoning_pipeline.hardware.launcher import launch_command
from reasoning_pipeline.hardware.profile import HardwareProfile

LIMIT_S = 480
PUSHES = ("nccl", "ipc")
STAGES = ("sparse_grpo", "forward_kl_warmup", "on_policy_distillation", "extra_rl")
PUSH_LIMIT_S = 150
"""Of one push with its server's start, so that the steps have time left."""
SIZES = {"1.7B": 2048, "0.6B": 1024}
"""Parameters -> width of Qwen3."""
MODEL = {"vocabulary": 151936, "layers": 28, "heads": 16, "kv_heads": 8, "head_dim": 128}
SMALL = {"vocabulary": 112, "hidden": 64, "layers": 2, "heads": 2, "kv_heads": 1, "head_dim": 32}
ROWS, PROMPT, COMPLETION = 8, 64, 960
"""Of a step, on each GPU."""
PEAK_TFLOPS = {"A100": 312, "H100": 989, "H200": 989, "B200": 2250, "L40S": 362, "RTX 4090": 165}
"""Dense bfloat16, from the makers' data sheets."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=1, help="that divide each step (default 1)")
    parser.add_argument("--size", choices=SIZES, default="1.7B", help="parameters of the models (default 1.7B)")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: cuda where the driver shows a GPU")
    parts = [*(f"push-{one}" for one in PUSHES), *STAGES]
    parser.add_argument("--only", action="append", choices=parts, metavar="NAME", help=", ".join(parts))
    parser.add_argument("--step", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        print(json.dumps(step(json.loads(Path(arguments.step).read_text()))), flush=True)
        return 0
    device = arguments.device or ("cuda" if Path("/proc/driver/nvidia/gpus").exists() else "cpu")
    if device == "cuda" and (why := too_few(arguments.gpus)):
        parser.error(why)
    wanted = arguments.only or parts
    print(f"{where()}, {device}" + (": reduced, its figures say nothing" if device == "cpu" else ""), flush=True)
    started, failed = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shape = MODEL | {"hidden": SIZES[arguments.size]} if device == "cuda" else SMALL
        random_model(folder / "model", **shape, max_position_embeddings=2048)
        for line in chain(
            pushes(folder, device, wanted, started), steps(folder, device, arguments.gpus, wanted, started)
        ):
            print(line, flush=True)
            failed += "FAILED" in line
    print(f"{time.monotonic() - started:.0f} s in all")
    return int(failed > 0)


def too_few(gpus: int) -> str:
    """Why this machine cannot; empty where it has as many GPUs."""
    import torch

    if (found := torch.cuda.device_count()) >= gpus:
        return ""
    return (
        f"--gpus {gpus}: PyTorch sees {found} GPUs. `nvidia-smi` must list as many, CUDA_VISIBLE_DEVICES must not hide "
        "them, and PyTorch must be the one that `make setup ACCELERATOR=cuda` installs"
    )


def ended(name: str, command: list[str], seconds: float) -> tuple[str, str]:
    """(what a part printed, why it failed); of a failed one all that it said is kept in runs/gpu-NAME.log."""
    try:
        done = subprocess.run(
            command, cwd=PROJECT, env=own_environment(os.environ), capture_output=True, text=True,
            timeout=max(seconds, 1), check=False,
        )  # fmt: skip
        if done.returncode == 0:
            return done.stdout, ""
        said, why = done.stdout + done.stderr, last_line(done.stderr)
    except subprocess.TimeoutExpired as error:
        texts = [part.decode() if isinstance(part, bytes) else part or "" for part in (error.stdout, error.stderr)]
        said, why = "".join(texts), f"not within {seconds:.0f} s"
    log = PROJECT / "runs" / f"gpu-{name}.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text(said, encoding="utf-8")
    return said, f"{why} ({log.relative_to(PROJECT)})"


def pushes(folder: Path, device: str, wanted: list[str], started: float) -> Iterator[str]:
    """One push over each of vLLM's transports, proved."""
    yield "\n| push | seconds, third of three | proof |\n|---|---|---|"
    for transport in (one for one in PUSHES if f"push-{one}" in wanted):
        if why := cannot_push(transport, device):
            yield f"| {transport} | | left out: {why} |"
            continue
        command = [sys.executable, "-m", "benchmarks.push", "--sizes", "500M", "--pushes", "1", "--no-restart"]
        command += ["--hardware", str(profile_of_a_push(folder, transport)), "--transport", transport]
        printed, why = ended(f"push-{transport}", command, min(PUSH_LIMIT_S, LIMIT_S - (time.monotonic() - started)))
        if why:
            yield f"| {transport} | | FAILED: {why} |"
            continue
        cells = printed.strip().splitlines()[-1].split("|")
        yield f"| {transport} | {cells[2].strip()} | {cells[8].strip()} nats |"


def profile_of_a_push(folder: Path, transport: str) -> Path:
    """One trainer on the first GPU; the server beside it, or on the second one with NCCL."""
    server = {"transport": transport, "devices": ["1" if transport == "nccl" else "0"], "gpu_memory_utilization": 0.3}
    path = folder / f"push-{transport}.yaml"
    path.write_text(json.dumps({"device": "cuda", "precision": "bfloat16", "server": server}), encoding="utf-8")
    return path


def cannot_push(transport: str, device: str) -> str:
    """Why; empty where nothing is known against it."""
    from importlib.util import find_spec

    if device == "cpu":
        return "it needs a GPU"
    if find_spec("vllm") is None:
        return "vLLM is not installed"
    import torch

    if transport == "nccl" and torch.cuda.device_count() < 2:
        return "NCCL needs a GPU for each side, and there is one"
    return ""


def steps(folder: Path, device: str, gpus: int, wanted: list[str], started: float) -> Iterator[str]:
    """Two optimizer steps of each stage, each in processes of its own; the second is timed."""
    yield "\n| step | peak GiB | estimated | tokens/s | of peak operations |\n|---|---|---|---|---|"
    profile = HardwareProfile(
        engine="transformers" if gpus == 1 else "vllm",  # what is written is scripted, and nobody asks either
        device=device,  # type: ignore[arg-type]
        precision="bfloat16",
        processes=gpus,
        accelerate_config=None if gpus == 1 else "fsdp2.yaml",
        micro_batch=ROWS // 4,
        gradient_checkpointing=True,
    )
    for stage in (one for one in STAGES if one in wanted):
        job = folder / f"{stage}.json"
        job.write_text(json.dumps({"stage": stage, "folder": str(folder), "profile": profile.model_dump(mode="json")}))
        program = ["-m", "benchmarks.gpu", "--step", str(job)]
        command = launch_command(profile, program) if gpus > 1 else [sys.executable, *program]
        printed, why = ended(stage, command, LIMIT_S - (time.monotonic() - started))
        found = [json.loads(line) for line in printed.splitlines() if line.startswith('{"stage"')]
        if why or not found:
            yield f"| {stage} | FAILED: {why or 'it printed no result'} | | | |"
            continue
        one = found[0]
        share = f"{one['share']:.0%}" if one["share"] is not None else "peak not known"
        peak = f"{one['peak']:.2f}" if one["peak"] is not None else "not measured"
        yield f"| {stage} | {peak} | {one['estimate']:.2f} | {one['tokens_per_s']:,.0f} | {share} |"


def step(job: dict[str, Any]) -> dict[str, Any]:
    """In the process that trains: what two optimizer steps of this stage took. Of several, what the first one saw."""
    import torch
    from transformers import TrainerCallback

    from reasoning_pipeline.estimates.layout import GIB, layout_of
    from reasoning_pipeline.estimates.memory import TrainingTask, trainer_parts
    from reasoning_pipeline.estimates.shapes import shape_of_config
    from reasoning_pipeline.estimates.work import forward_flops, training_flops

    profile = HardwareProfile.model_validate(job["profile"])
    gpu = profile.device == "cuda"
    trainer, lengths = trainer_of(job, profile)
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if gpu:
                torch.cuda.synchronize()
            times.append(time.monotonic())

    trainer.add_callback(Clock())
    trainer.args.save_strategy = "no"
    trainer.train()
    shape = shape_of_config(json.loads((Path(job["folder"]) / "model" / "config.json").read_text()))
    assert shape is not None
    distils = job["stage"] in ("forward_kl_warmup", "on_policy_distillation")
    task = TrainingTask(
        policy=shape, loss="divergence" if distils else "log_probabilities", micro_batch=ROWS // 4, tokens=lengths[0],
        teacher=shape if distils else None,
    )  # fmt: skip
    layout = layout_of(profile)
    tokens, seconds = float(sum(lengths)) * profile.processes, times[1] - times[0]
    flops = training_flops(shape, tokens, lengths[0], checkpointing=True)
    flops += forward_flops(shape, tokens, lengths[0]) if distils else 0.0
    name = torch.cuda.get_device_name() if gpu else ""
    tflops = next((value for part, value in PEAK_TFLOPS.items() if part in name), None)
    return {
        "stage": job["stage"],
        "peak": torch.cuda.max_memory_allocated() / GIB if gpu else None,
        "estimate": sum(size for part, size in trainer_parts(task, layout.placement).items() if part != "reserve")
        / GIB,
        "tokens_per_s": tokens / seconds,
        "share": flops / seconds / (profile.processes * tflops * 1e12) if tflops else None,
    }


def trainer_of(job: dict[str, Any], profile: HardwareProfile) -> tuple[Any, list[int]]:
    """The stage's own trainer on scripted rollouts, all of one length; and those lengths, of one process."""
    import random

    from reasoning_pipeline.data import arithmetic
    from reasoning_pipeline.data.prompts import PromptConfig, PromptRenderer
    from reasoning_pipeline.recipe.workflows import stage_module
    from reasoning_pipeline.run.context import StageContext

    folder, stage = Path(job["folder"]), job["stage"]
    completion = COMPLETION if profile.device == "cuda" else 24
    draw, rows = random.Random(0), ROWS * profile.processes
    problems = arithmetic.problems("pool", rows)
    renderer = PromptRenderer.from_folder(folder / "model")
    scripted = Scripted(completion)
    common = {"policy": "p", "seed": 0, "steps": 2, "learning_rate": 1e-6, "save_every": 1000}
    limits = {"max_prompt_tokens": PROMPT, "max_completion_tokens": completion}
    if stage == "forward_kl_warmup":
        (folder / "rollouts").mkdir(exist_ok=True)
        lines = [
            {"problem_id": one.id, "prompt_ids": renderer.prompt_ids(one.question),
             "completion_ids": [draw.randrange(5, 99) for _ in range(completion)]}
            for one in problems
        ]  # fmt: skip
        if int(os.environ.get("RANK", "0")) == 0 or not (folder / "rollouts" / "rollouts.jsonl").exists():
            aside = folder / "rollouts" / f"{os.getpid()}.aside"
            aside.write_text("".join(json.dumps(line) + "\n" for line in lines))
            aside.replace(folder / "rollouts" / "rollouts.jsonl")
        fields: dict[str, Any] = {"teacher": "t", "rollouts": "r", "rollouts_per_step": rows}
    elif stage == "on_policy_distillation":
        fields = {"teacher": "t", "prompts": "x", "rollouts_per_step": rows, **limits}
    else:
        fields = {"spends": "x", "problems_per_step": rows // 4, "group_size": 4, **limits}
    module = stage_module(stage)
    config = module.Config(**common, **fields)
    context = StageContext(
        config=config,
        label=stage,
        problems=problems if stage != "forward_kl_warmup" else [],
        inputs={name: folder / "model" for name in ("policy", "teacher")} | {"rollouts": folder / "rollouts"},
        prompt=PromptConfig(),
        profile=profile.model_copy(update={"engine": "transformers"}),
        work=folder / f"work-{stage}",
    )
    if stage == "forward_kl_warmup":
        trainer = module.make_trainer(config, context)
    else:
        trainer = stage_trainer(stage, config, context)
        trainer.vllm_generation = scripted
    prompt = len(renderer.prompt_ids(problems[0].question))
    return trainer, [prompt + completion] * ROWS


def stage_trainer(stage: str, config: Any, context: Any) -> Any:
    if stage == "on_policy_distillation":
        from reasoning_pipeline.workflows.reasoning.stages import on_policy_distillation

        return on_policy_distillation.make_trainer(config, context)
    from reasoning_pipeline.workflows.reasoning.grpo import grpo_trainer

    return grpo_trainer(config, context)


class Scripted:
    """Writes at once what no model would: the time of a step is the trainer's."""

    def __init__(self, completion: int) -> None:
        self.completion = completion

    def sync_weights(self) -> None: ...

    def generate(self, prompts: list[list[int]], images: Any, num_generations: int, profiler: Any) -> Any:
        written = [[5 + (7 * i + j) % 90 for j in range(self.completion)] for i in range(len(prompts))]
        return prompts, written, [[[0.0]] * self.completion for _ in prompts], None


def last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no output"


if __name__ == "__main__":
    sys.exit(main())
