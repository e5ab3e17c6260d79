"""What is looked at before every run and every submission."""

from __future__ import annotations

import pytest

from launch.__main__ import main as launch
from reasoning_pipeline.__main__ import main
from tests.bench import Bench


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


@pytest.mark.parametrize("profile", ["one_gpu_80gb", "node_8x80gb", "node_8x141gb", "two_nodes"])
def test_a_profile_whose_gpus_are_not_here_is_refused_before_anything_starts(
    bench: Bench, capsys: pytest.CaptureFixture[str], profile: str
) -> None:
    assert main(["run", str(bench.changed()), "--root", str(bench.root), "--hardware", profile]) == 1
    error = capsys.readouterr().err
    assert f"small cannot run on {profile} here" in error and "gpus: nvidia-smi does not answer here" in error
    assert not (bench.root / "work").exists()


@pytest.mark.parametrize("profile", ["one_gpu_80gb", "node_8x80gb", "node_8x141gb", "two_nodes", "llama_70b"])
def test_a_profile_that_ships_can_be_looked_at_and_is_submitted_only_with_a_partition(
    bench: Bench, capsys: pytest.CaptureFixture[str], profile: str
) -> None:
    recipe = str(bench.changed(lambda r: r["steps"]["polish"].update(problems_per_step=16, group_size=8)))
    words = ["slurm", recipe, "--only", "teacher_base", "--root", str(bench.root), "--hardware", profile]
    assert launch([*words, "--dry-run"]) == 0
    assert "#SBATCH --partition=<partition>" in capsys.readouterr().out
    assert launch(words) == 2
    assert "slurm.partition: <partition> stands for your cluster's; give --partition" in capsys.readouterr().err
    assert launch([*words, "--dry-run", "--partition", "gpu"]) == 0
    assert "#SBATCH --partition=gpu" in capsys.readouterr().out


def test_a_time_limit_that_is_none_is_one_sentence(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["slurm", str(bench.changed()), "--hardware", "two_nodes", "--time-limit", "banana", "--dry-run"]
    assert launch(words) == 2
    assert "--time-limit" in capsys.readouterr().err
