"""A step trained in a shell full of another launcher's variables publishes the very weights that it does without."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from reasoning_pipeline.registry.store import Registry
from tests.hardware.test_environment import OF_OTHERS
from tests.run.conftest import SMOKE, Run, artifact_of

RUN = ("run", SMOKE / "sparse_grpo.yaml", "--hardware", "cpu_transformers", "--root")


@pytest.mark.slow
def test_weights_do_not_depend_on_what_the_shell_says_of_ranks_and_precision(smoke_root: Path, tmp_path: Path) -> None:
    # alone, RANK=1 published nothing, all of RANK, WORLD_SIZE and MASTER_* waited for ever, bf16 gave other weights,
    # ACCELERATE_USE_DEEPSPEED and PMI_SIZE ended in tracebacks
    assert Run(*RUN, smoke_root, "--until", "teacher_base").finish()[0] == 0
    base = artifact_of(SMOKE / "sparse_grpo.yaml", "teacher_base", smoke_root)
    for name in ("quiet", "loud"):
        shutil.copytree(base.folder, tmp_path / name / "registry" / base.name)
    runs = {
        "quiet": Run(*RUN, tmp_path / "quiet", "--until", "teacher_rl"),
        "loud": Run(*RUN, tmp_path / "loud", "--until", "teacher_rl", environment=OF_OTHERS),
    }
    weights = set()
    for name, run in runs.items():
        status, output = run.finish()
        assert status == 0, output
        (made,) = [one for one in Registry(tmp_path / name).artifacts() if one.record.stage == "sparse_grpo"]
        weights.add(made.record.files["model.safetensors"])
    assert len(weights) == 1
