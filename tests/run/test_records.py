"""The records of a real run: what they must say, and what they must not."""

from __future__ import annotations

import getpass
import json
import re
import socket
from pathlib import Path

import pytest

from reasoning_pipeline.registry.record import RECORD
from reasoning_pipeline.registry.store import Registry
from tests.run.conftest import SMOKE, Run, artifact_of

pytestmark = pytest.mark.slow

KEYS = re.compile(r"hf_[A-Za-z0-9]{8}|sk-[A-Za-z0-9]{8}|ghp_|AKIA[A-Z0-9]{8}|BEGIN [A-Z ]*PRIVATE KEY")
ABSOLUTE = re.compile(r'"(/|~/|[A-Za-z]:\\)')


def test_records_hold_no_place_no_person_and_no_secret(smoke_root: Path) -> None:
    status, output = Run("run", SMOKE / "pretrain.yaml", "--root", smoke_root).finish()
    assert status == 0, output
    folders = Registry(smoke_root).folders()
    assert folders
    words = {str(Path.home()), str(smoke_root), str(Path.cwd()), socket.gethostname()}
    # `root` is also what a registry's parent is called, and one or two letters stand everywhere
    words |= {name for name in [getpass.getuser()] if len(name) > 2 and name != "root"}
    for folder in folders:
        text = (folder / RECORD).read_text(encoding="utf-8")
        found = [
            word for word in words if len(word) > 2 and re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])", text)
        ]
        assert not found, f"{folder.name}: {found}"
        assert not KEYS.search(text) and not ABSOLUTE.search(text), folder.name


def test_records_say_how_it_came_about(smoke_root: Path) -> None:
    status, output = Run("run", SMOKE / "pretrain.yaml", "--root", smoke_root).finish()
    assert status == 0, output
    for artifact in Registry(smoke_root).artifacts():
        said = artifact.record.provenance
        assert said["command"].startswith("python -m reasoning_pipeline run ")
        assert said["wall_seconds"] > 0 and said["cpu_seconds"] > 0 and said["peak_memory_mib"] > 50
        assert said["packages"]["reasoning-pipeline"] and said["hardware"]["cpu"]
        assert json.loads((artifact.folder / RECORD).read_text())["record_digest"]


def test_an_exported_checkpoint_is_loaded_by_transformers(smoke_root: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    status, output = Run("run", SMOKE / "pretrain.yaml", "--root", smoke_root).finish()
    assert status == 0, output
    source = artifact_of(SMOKE / "pretrain.yaml", "teacher_base", smoke_root)  # other recipes may have made a newer one
    status, output = Run("export", source.name, tmp_path / "model", "--root", smoke_root).finish()
    assert status == 0, output
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    ids = AutoTokenizer.from_pretrained(tmp_path / "model")("3+5", return_tensors="pt")["input_ids"]
    assert ids.shape == (1, 3) and torch.isfinite(model(ids).logits).all()
    status, output = Run("import", tmp_path / "model", "--name", "shelf", "--root", tmp_path / "runs").finish()
    assert status == 0, output
    (found,) = Registry(tmp_path / "runs").artifacts()
    weights = found.record.files["model.safetensors"]
    assert weights == source.record.files["model.safetensors"]


def test_two_recipes_that_share_a_step_make_it_once(tmp_path: Path) -> None:
    words = ("run", SMOKE / "pretrain.yaml", "--root", tmp_path, "--only", "teacher_base")
    runs = [Run(*words, "--set", f"name={name}") for name in ("one", "two")]
    for run in runs:
        status, output = run.finish()
        assert status == 0, output
    assert [artifact.record.step for artifact in Registry(tmp_path).artifacts()] == ["teacher_base"]
    made = list(tmp_path.glob("*/logs/**/teacher_base.log"))
    assert len(made) == 1, f"made by one of the two alone: {made}"
    assert not list((tmp_path / "work").glob("*.lock"))
