"""Killed under one launcher, continued under the same or another: exactly, or refused by name. Never a fresh optimizer.

Real launchers with two processes on CPUs, DeepSpeed and (tests/fsdp2) FSDP2 among them; each layout trains once without
interruption and leaves a copy of its work folder as it stood when the second of four resume points was whole. What is
on the disk is all that SIGKILL leaves; data parallel processes are killed in earnest, too.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.training import layouts
from reasoning_pipeline.training.layouts import Layout, obstacle, written
from tests.fsdp2 import ENVIRONMENT
from tests.training.test_trl_bridge import weights, write_rollouts
from tests.training.trainer_process import Job, launch, run

KILLED_AT, STEPS = 2, 4
PROFILES = {
    "one": HardwareProfile(name="one", engine="transformers"),
    **{
        name: HardwareProfile(name=name, processes=2, accelerate_config=f"{name}.yaml", environment=ENVIRONMENT)
        for name in ("ddp", "fsdp2", "zero2", "zero3")
    },
}
LORA = {"lora": {"rank": 4, "alpha": 16}}


class Trainings:
    """Of one step, under each layout, done when first asked for."""

    def __init__(self, folder: Path, inputs: dict[str, Path]) -> None:
        self.folder, self.inputs = folder, inputs
        self._whole: dict[tuple[str, bool], Job] = {}

    def job(self, layout: str, work: str, *, lora: bool = False, **changes: Any) -> Job:
        config = {
            "policy": "p", "teacher": "t", "rollouts": "r", "rollouts_per_step": 4, "seed": 3,
            "steps": STEPS, "save_every": 1, "learning_rate": 1e-2, **(LORA if lora else {}),
        }  # fmt: skip
        return Job(
            stage="forward_kl_warmup",
            config=config,
            profile=PROFILES[layout].model_dump(mode="json"),
            inputs={name: str(path) for name, path in self.inputs.items()},
            work=str(self.folder / work),
            **changes,
        )

    def whole(self, layout: str, *, lora: bool = False) -> Job:
        """Uninterrupted; its `killed` is the copy. The same processes then train what goes on from there, and from
        what one process left."""
        if (layout, lora) not in self._whole:
            job = self.job(layout, f"{layout}{'-lora' if lora else ''}", lora=lora, copy_at=KILLED_AT)
            befores = [job, *([self.whole("one")] if layout in ("ddp", "fsdp2") and not lora else [])]
            train(job, *(self._going_on(before.killed, layout, lora=lora) for before in befores))
            self._whole[layout, lora] = job
        return self._whole[layout, lora]

    def continued(self, killed: Path, layout: str, *, lora: bool = False) -> Job:
        """In a copy, under this layout."""
        job = self._going_on(killed, layout, lora=lora)
        if not (Path(job.work) / "output").exists():
            train(job)
        return job

    def _going_on(self, killed: Path, layout: str, *, lora: bool) -> Job:
        return self.job(layout, f"{killed.name}-to-{layout}", lora=lora, copy_of=str(killed))


def train(*jobs: Job) -> None:
    """One process here, several behind their launcher. Raises PipelineError with what a refused trainer says."""
    if jobs[0].profile["processes"] == 1:
        for job in jobs:
            run(job)
        return
    done = launch(*jobs)
    if done.returncode:
        raise PipelineError(done.stdout + done.stderr)


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, other_model: Path) -> Trainings:
    folder = tmp_path_factory.mktemp("layouts")
    rollouts = write_rollouts(folder / "rollouts", PromptRenderer.from_folder(tiny_model), 8)
    return Trainings(folder, {"policy": tiny_model, "teacher": other_model, "rollouts": rollouts})


def apart(ours: Job, theirs: Job) -> float:
    """Mean difference of the published weights."""
    first, second = (weights(Path(job.work) / "output") for job in (ours, theirs))
    shared = first.keys() & second.keys()
    # A tied head may be published under its own name too.
    assert first.keys() ^ second.keys() <= {"lm_head.weight"}
    return sum(float((first[name] - second[name]).abs().sum()) for name in shared) / sum(
        first[name].numel() for name in shared
    )


def last_point(job: Job) -> Path:
    return Path(job.work) / "checkpoints" / f"checkpoint-{STEPS}"


def steps_in_metrics(job: Job) -> list[int]:
    return [json.loads(line)["step"] for line in (Path(job.work) / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "lora"),
    [("one", False), ("one", True), ("ddp", True), ("fsdp2", False), ("fsdp2", True), ("zero2", False),
     ("zero2", True), ("zero3", False), ("zero3", True)],
)  # fmt: skip
def test_continued_under_its_own_layout_it_publishes_the_same_weights(
    layout: str, lora: bool, trainings: Trainings
) -> None:
    whole = trainings.whole(layout, lora=lora)
    resumed = trainings.continued(whole.killed, layout, lora=lora)
    assert apart(whole, resumed) == 0
    assert steps_in_metrics(resumed) == [1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["ddp", "fsdp2", "zero2", "zero3"])
def test_what_adapters_become_does_not_depend_on_the_layout(layout: str, trainings: Trainings) -> None:
    """The model that is published, and the adapter in PEFT's files that each resume point holds."""
    ours, theirs = trainings.whole(layout, lora=True), trainings.whole("one", lora=True)
    assert apart(ours, theirs) < 1e-6
    adapter, alone = (load_file(last_point(job) / "adapter_model.safetensors") for job in (ours, theirs))
    assert adapter.keys() == alone.keys()
    for name, tensor in alone.items():
        torch.testing.assert_close(adapter[name], tensor, rtol=0, atol=1e-5, msg=name)


@pytest.mark.slow
def test_data_parallel_processes_are_killed_and_continued(trainings: Trainings) -> None:
    dying = trainings.job("ddp", "ddp-dying", die_at=KILLED_AT)
    with pytest.raises(PipelineError):
        train(dying)
    points = [path.name for path in (Path(dying.work) / "checkpoints").glob("checkpoint-*")]
    assert points == [f"checkpoint-{KILLED_AT}"]
    resumed = trainings.continued(Path(dying.work), "ddp")
    assert apart(trainings.whole("ddp"), resumed) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "now", "lora"),
    [("ddp", "one", False), ("ddp", "one", True), ("fsdp2", "one", False), ("one", "ddp", False),
     ("one", "fsdp2", False), ("fsdp2", "one", True), ("one", "fsdp2", True)],
)  # fmt: skip
def test_a_whole_optimizer_goes_on_under_another_layout(
    before: str, now: str, lora: bool, trainings: Trainings
) -> None:
    resumed = trainings.continued(trainings.whole(before, lora=lora).killed, now, lora=lora)
    # Layouts differ by the order of their sums. With a fresh optimizer the means are 1e-3 apart (next test).
    assert apart(resumed, trainings.whole(now, lora=lora)) < 1e-6
    assert steps_in_metrics(resumed) == [1, 2, 3, 4]
    last = written(last_point(resumed))
    assert (last.layout.profile, last.optimizer["steps"]) == (now, [STEPS])
    assert [text.split(" (")[0] for text in last.earlier] == [f"profile '{before}'"]


@pytest.mark.slow
def test_what_a_fresh_optimizer_would_do(trainings: Trainings, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers resumes without the file, in silence; ours stops."""
    killed = trainings.whole("one").killed
    lost = trainings.folder / "lost"
    shutil.copytree(killed, lost)
    (lost / "checkpoints" / f"checkpoint-{KILLED_AT}" / "optimizer.pt").unlink()
    with pytest.raises(PipelineError, match=r"not loaded from the resume point of step 2: it holds {'steps': \[\]"):
        trainings.continued(lost, "one")
    monkeypatch.setattr("reasoning_pipeline.training.loop.check_loaded", lambda *_: None)
    shutil.rmtree(trainings.folder / "lost-to-one")
    assert apart(trainings.whole("one"), trainings.continued(lost, "one")) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("before", ["zero2", "zero3"])
@pytest.mark.parametrize("says", [True, False], ids=["layout", "files alone"])
def test_pieces_of_an_optimizer_are_refused_by_name(before: str, says: bool, trainings: Trainings) -> None:
    killed = trainings.folder / f"{before}-{says}"
    shutil.copytree(trainings.whole(before).killed, killed)
    if not says:  # written before points said how
        (killed / "checkpoints" / f"checkpoint-{KILLED_AT}" / layouts.LAYOUT_FILE).unlink()
    with pytest.raises(PipelineError) as refused:
        trainings.continued(killed, "one")
    text, title = str(refused.value), {"zero2": "ZeRO-2", "zero3": "ZeRO-3"}[before]
    whose = (
        f"profile '{before}' ({title}, 2 processes, float32)" if says else f"it does not name ({title}, 2 processes)"
    )
    assert f"{whose}; this run is profile 'one' (one process, float32)" in text
    folder = trainings.folder / f"{killed.name}-to-one" / "checkpoints"
    assert "give up its 2 optimizer steps" in text and f"rm -r {folder}" in text

    shutil.rmtree(folder)
    anew = trainings.job("one", folder.parent.name)
    train(anew)
    assert apart(anew, trainings.whole("one")) == 0


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["one", "ddp"])
def test_a_point_that_does_not_say_goes_on_where_its_files_can(layout: str, trainings: Trainings) -> None:
    old = trainings.folder / f"old-{layout}"
    shutil.copytree(trainings.whole(layout).killed, old)
    (old / "checkpoints" / f"checkpoint-{KILLED_AT}" / layouts.LAYOUT_FILE).unlink()
    assert apart(trainings.continued(old, "one"), trainings.whole("one")) < 1e-6


def a_layout(sharding: str, processes: int = 2, **changes: Any) -> Layout:
    values = {"profile": sharding, "precision": "float32", "lora": False, "parameters": ["weight"]}
    return Layout(sharding=sharding, processes=processes, **{**values, **changes})


def test_which_layouts_can_go_on_from_which() -> None:
    whole, pieces = ("none", "ddp", "fsdp2"), ("zero2", "zero3", "fsdp2_pieces")
    for before in (*whole, *pieces):
        for now in (*whole, *pieces):
            goes_on = before == now or (before in whole and now in whole)
            assert (obstacle(a_layout(before), a_layout(now)) is None) == goes_on, (before, now)
    assert obstacle(a_layout("ddp", 2), a_layout("ddp", 8)) is None
    assert "pieces" in str(obstacle(a_layout("zero3", 2), a_layout("zero3", 8)))
    assert "precision" in str(obstacle(a_layout("ddp"), a_layout("ddp", precision="bfloat16")))
    assert "adapters" in str(obstacle(a_layout("ddp"), a_layout("ddp", lora=True)))
    # Written before points said how: FSDP2's state is by name, the others' by number, and nothing tells which is which.
    old = {"profile": None, "precision": None, "parameters": []}
    assert obstacle(a_layout("none", 1, **old), a_layout("ddp")) is None
    assert "does not say" in str(obstacle(a_layout("none", 1, **old), a_layout("fsdp2")))


@pytest.mark.parametrize(
    ("files", "sharding", "processes", "lora"),
    [
        (["optimizer.pt", "rng_state.pth"], "none", 1, False),
        (["optimizer.pt", "rng_state_0.pth", "rng_state_1.pth", "adapter_config.json"], "ddp", 2, True),
        (["optimizer.bin", "pytorch_model_fsdp.bin", "rng_state_0.pth", "rng_state_1.pth"], "fsdp2", 2, False),
        (["global_step2/mp_rank_00_model_states.pt", "global_step2/zero_pp_rank_0_mp_rank_00_optim_states.pt",
          "global_step2/zero_pp_rank_1_mp_rank_00_optim_states.pt"], "zero2", 2, False),
        (["global_step2/zero_pp_rank_0_mp_rank_00_model_states.pt",
          "global_step2/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", "rng_state.pth"], "zero3", 1, False),
    ],
)  # fmt: skip
def test_a_point_without_a_layout_is_known_by_its_files(
    files: list[str], sharding: str, processes: int, lora: bool, tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = written(tmp_path).layout
    assert (found.sharding, found.processes, found.lora) == (sharding, processes, lora)
    assert (found.profile, found.precision) == (None, None)
